"""The first layer of a broadcast canvas against the same layer on the whole canvas."""

from itertools import product

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.peak_memory import track
from mmocl.models.decoders import SpatialBroadcastDecoder
from mmocl.models.layers import broadcast_conv, transposed_convs

SIZES = [(8, 8), (16, 16), (20, 21), (5, 81), (81, 5), (32, 32), (1, 1), (2, 3), (4, 4), (1, 99)]


def _direct(layer, vectors, position):
    return layer(vectors[:, :, None, None].expand(-1, -1, *position.shape[-2:]) + position)


@pytest.mark.parametrize(('size', 'stride'), list(product(SIZES, (1, 2, 3, 4))), ids=str)
@pytest.mark.parametrize(('dtype', 'bound'), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
def test_values_and_gradients_of_the_whole_canvas(size, stride, dtype, bound) -> None:
    layer = transposed_convs(6, 5, [stride], 3)[0].to(dtype)
    vectors = torch.randn(4, 6, dtype=dtype, requires_grad=True)
    position = torch.randn(6, *size, dtype=dtype, requires_grad=True)
    leaves = [vectors, position, *layer.parameters()]
    results = []
    for function in (broadcast_conv, _direct):
        output = function(layer, vectors, position)
        probe = torch.randn(output.shape, generator=torch.Generator().manual_seed(1)).to(dtype)
        results.append([output, *torch.autograd.grad((output * probe).mean(), leaves)])
    for got, want in zip(*results, strict=True):
        assert got.shape == want.shape
        assert (got - want).abs().max() <= bound * max(1.0, want.abs().max().item())


def test_the_last_layer_can_be_the_first() -> None:
    layer = transposed_convs(6, 6, [], 3)[0]
    vectors, position = torch.randn(4, 6), torch.randn(6, 12, 13)
    want = _direct(layer, vectors, position)
    torch.testing.assert_close(broadcast_conv(layer, vectors, position), want)


@pytest.mark.parametrize(
    ('size', 'stride', 'pixels'),
    # Borders of two pixels on both sides, or of one and two, and one pixel between them.
    [((64, 64), 1, 25), ((16, 16), 2, 16), ((16, 16), 1, None), ((8, 8), 2, None)],
)
def test_operations(size, stride, pixels) -> None:
    layer = transposed_convs(8, 4, [stride], 3)[0]
    with FlopCounterMode(display=False) as counter:
        broadcast_conv(layer, torch.randn(10, 8), torch.randn(8, *size))
    total = size[0] * size[1]
    # A small canvas passes the layer as it is.
    passed = 10 * total if pixels is None else 10 * pixels + total
    assert counter.get_total_flops() == 2 * 25 * 8 * 4 * passed


def test_the_decoder_takes_less_memory_than_with_whole_canvases() -> None:
    decoder = SpatialBroadcastDecoder(16, channels=8, broadcast_size=(32, 32), strides=(1, 1))
    slots = torch.randn(2, 3, 16, requires_grad=True)

    def direct():
        canvas = slots.flatten(0, 1)[:, :, None, None].expand(-1, -1, 32, 32)
        return decoder.layers(decoder.position(canvas)).unflatten(0, (2, 3))

    def ours():
        return torch.cat([decoder(slots).slot_recons, decoder(slots).masks[:, :, None]], 2)

    torch.testing.assert_close(direct()[:, :, :3], ours()[:, :, :3], rtol=1e-5, atol=1e-6)
    peaks = [
        track(lambda f=f: f().sum().backward()).peak
        for f in (direct, lambda: decoder(slots).slot_recons)
    ]
    assert peaks[1] < 0.8 * peaks[0]


def test_a_layer_of_another_kind_of_border() -> None:
    layer = nn.ConvTranspose2d(3, 2, (3, 5), stride=(1, 2), padding=(1, 2), output_padding=(0, 1))
    vectors, position = torch.randn(2, 3), torch.randn(3, 17, 19)
    want = _direct(layer, vectors, position)
    torch.testing.assert_close(broadcast_conv(layer, vectors, position), want)
