import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mmocl.models.decoders import (
    ConvDecoder,
    MLPDecoder,
    SpatialBroadcastDecoder,
    TransformerDecoder,
)
from mmocl.structures import Decoded, Target


@pytest.mark.parametrize(
    'decoder',
    [
        MLPDecoder(8, 5, grid=(4, 6), hidden_channels=16),
        SpatialBroadcastDecoder(8, channels=4, broadcast_size=(2, 3), strides=(2,)),
    ],
)
def test_masks_sum_to_one_and_follow_the_slots(decoder) -> None:
    slots = torch.randn(2, 4, 8)
    decoded = decoder(slots)
    torch.testing.assert_close(decoded.masks.sum(1), torch.ones(2, 4, 6))
    order = torch.tensor([3, 1, 0, 2])
    swapped = decoder(slots[:, order])
    torch.testing.assert_close(swapped.masks, decoded.masks[:, order])
    torch.testing.assert_close(swapped.recon, decoded.recon)


def test_a_target_of_another_size_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r'grid of \(4, 4\), 16 tokens, but the target has .*, 9 tokens'
    ):
        MLPDecoder(8, 5, grid=(4, 4))(torch.randn(1, 2, 8), Target(torch.zeros(1, 9, 5)))
    with pytest.raises(ValueError, match=r'paints \(16, 16\) images, but the target is \(32, 32\)'):
        SpatialBroadcastDecoder(8, channels=4, strides=(2,))(
            torch.randn(1, 2, 8), Target(torch.zeros(1, 3, 32, 32))
        )
    with pytest.raises(ValueError, match=r'paints \(4, 6\) images, but the target is \(4, 4\)'):
        ConvDecoder(8, channels=4, broadcast_size=(2, 3), strides=(2,))(
            torch.randn(1, 2, 8), Target(torch.zeros(1, 3, 4, 4))
        )


ACTIVE = torch.tensor([[True, False, True, False], [False, True, True, True]])
WITH_ACTIVE = {
    'mlp': (MLPDecoder, {'out_channels': 5, 'grid': (4, 6), 'hidden_channels': 16}),
    'broadcast': (
        SpatialBroadcastDecoder,
        {'channels': 4, 'broadcast_size': (2, 3), 'strides': (2,)},
    ),
    'conv': (ConvDecoder, {'channels': 4, 'broadcast_size': (2, 3), 'strides': (2,)}),
}


@pytest.fixture(params=WITH_ACTIVE)
def decoder(request) -> nn.Module:
    decoder_type, arguments = WITH_ACTIVE[request.param]
    return decoder_type(8, **arguments).double()


def _dense_minus_infinity(decoder: nn.Module, slots: torch.Tensor) -> Decoded:
    """Decode all slots, with the alpha of the inactive ones at minus infinity."""
    softmax = torch.Tensor.softmax
    with pytest.MonkeyPatch.context() as patch:

        def masked(alpha: torch.Tensor, dim: int) -> torch.Tensor:
            inactive = ~ACTIVE.view(*ACTIVE.shape, *[1] * (alpha.ndim - 2))
            return softmax(alpha.masked_fill(inactive, -torch.inf), dim=dim)

        patch.setattr(torch.Tensor, 'softmax', masked)
        return decoder(slots)


def test_active_slots_decode_as_in_a_dense_decode(decoder) -> None:
    slots = torch.randn(2, 4, 8, dtype=torch.float64)
    ours, theirs = slots.clone().requires_grad_(), slots.clone().requires_grad_()
    dense = _dense_minus_infinity(decoder, theirs)
    weights = torch.randn(dense.recon.shape, dtype=torch.float64)
    (dense.recon * weights).sum().backward()
    wanted = {name: p.grad.clone() for name, p in decoder.named_parameters()}
    decoder.zero_grad()

    decoded = decoder(ours, active=ACTIVE)
    (decoded.recon * weights).sum().backward()
    torch.testing.assert_close(decoded.recon, dense.recon)
    torch.testing.assert_close(decoded.masks, dense.masks)
    torch.testing.assert_close(ours.grad, theirs.grad)
    for name, parameter in decoder.named_parameters():
        torch.testing.assert_close(parameter.grad, wanted[name], msg=name)
    if decoded.slot_recons is not None:
        torch.testing.assert_close(decoded.slot_recons[ACTIVE], dense.slot_recons[ACTIVE])
    # It matters which slots are active.
    assert (decoder(slots).recon - decoded.recon).abs().max() > 1e-3


def test_inactive_slots_are_exactly_zero_and_get_no_gradient(decoder) -> None:
    slots = torch.randn(2, 4, 8, dtype=torch.float64)
    # Whatever they hold: they are not looked at.
    slots[~ACTIVE] = torch.nan
    slots.requires_grad_()
    decoded = decoder(slots, active=ACTIVE)
    decoded.recon.square().sum().backward()
    if decoder.has_masks:
        assert (decoded.masks[~ACTIVE] == 0).all()
        assert (decoded.masks[ACTIVE] > 0).all()
        torch.testing.assert_close(decoded.masks.sum(1), torch.ones(2, 4, 6, dtype=torch.float64))
    if decoded.slot_recons is not None:
        assert (decoded.slot_recons[~ACTIVE] == 0).all()
    assert (slots.grad[~ACTIVE] == 0).all()
    assert (slots.grad[ACTIVE].abs().sum(1) > 0).all()


def test_all_active_is_the_same_as_none_given(decoder) -> None:
    slots = torch.randn(2, 4, 8, dtype=torch.float64)
    dense, decoded = decoder(slots), decoder(slots, active=torch.ones(2, 4, dtype=torch.bool))
    torch.testing.assert_close(decoded.recon, dense.recon)
    torch.testing.assert_close(decoded.masks, dense.masks)


def test_active_slots_decode_under_bf16_autocast(decoder) -> None:
    slots = torch.randn(2, 4, 8).requires_grad_()
    decoder.float()
    with torch.autocast('cpu', torch.bfloat16):
        decoded = decoder(slots, active=ACTIVE)
        decoded.recon.float().square().sum().backward()
    full = decoder(slots, active=ACTIVE)
    if decoder.has_masks:
        torch.testing.assert_close(decoded.masks.float(), full.masks, atol=2e-2, rtol=0)
        assert (decoded.masks[~ACTIVE] == 0).all()
    torch.testing.assert_close(decoded.recon.float(), full.recon, atol=2e-2, rtol=5e-2)
    assert slots.grad[ACTIVE].isfinite().all()


def test_flops_follow_the_number_of_active_slots() -> None:
    decoder = SpatialBroadcastDecoder(8, channels=16, broadcast_size=(8, 8), strides=(2,))
    slots = torch.randn(2, 4, 8)

    def flops(active: torch.Tensor | None) -> int:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            decoder(slots, active=active)
        return counter.get_total_flops()

    # One map of the 8x8 coordinates serves all slots.
    shared = 2 * 8 * 8 * 4 * 8
    per_slot = (flops(None) - shared) / 8
    # 5x5, stride 2, from 8 to 16 channels at 64 pixels; 3x3 from 16 to 4 channels at 256 pixels.
    assert per_slot == 2 * (64 * 25 * 8 * 16 + 256 * 9 * 16 * 4)
    assert flops(ACTIVE) - shared == 5 * per_slot
    assert flops(torch.eye(2, 4).bool()) - shared == 2 * per_slot


def test_the_mlp_runs_on_active_slots_only() -> None:
    decoder = MLPDecoder(8, 5, grid=(4, 6), hidden_channels=64)
    seen = []
    decoder.hidden[1].register_forward_hook(lambda module, args, out: seen.append(out.shape[0]))
    decoder(torch.randn(2, 4, 8), active=ACTIVE)
    assert seen == [5]


def test_active_of_another_shape_is_refused(decoder) -> None:
    slots = torch.randn(2, 4, 8, dtype=torch.float64)
    with pytest.raises(ValueError, match=r'shape \(2, 4\), got \(2, 3\)'):
        decoder(slots, active=ACTIVE[:, :3])
    with pytest.raises(ValueError, match=r'shape \(2, 4\), got \(8,\)'):
        decoder(slots, active=ACTIVE.flatten())
    with pytest.raises(ValueError, match='leaves an image without slots'):
        decoder(slots, active=ACTIVE & torch.tensor([[True], [False]]))


def _direct(decoder: MLPDecoder, slots: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The MLP decoder as it is written down: K full outputs a patch, mixed by their alpha."""
    hidden = decoder.embed(slots)[:, :, None] + decoder.position
    for layer in decoder.hidden:
        hidden = layer(hidden).relu()
    features, alpha = decoder.project(hidden).split([decoder.project.out_features - 1, 1], dim=-1)
    masks = alpha.softmax(dim=1)
    return (features * masks).sum(dim=1), masks.squeeze(-1).unflatten(2, decoder.grid)


@pytest.mark.parametrize('embed_channels', [None, 12])
@pytest.mark.parametrize(('dtype', 'bound'), [(torch.float32, 1e-5), (torch.float64, 1e-13)])
def test_the_short_cuts_of_the_mlp_are_exact(dtype, bound, embed_channels) -> None:
    decoder = MLPDecoder(32, 24, (4, 6), 64, num_hidden=3, embed_channels=embed_channels)
    with torch.no_grad():
        # Biases start at 0, where a forgotten one would not show; larger weights give uneven masks.
        for parameter in decoder.parameters():
            parameter.copy_(torch.randn_like(parameter) * 1.5 * parameter.shape[-1] ** -0.5)
    decoder.to(dtype)
    slots = torch.randn(2, 5, 32, dtype=dtype, requires_grad=True)
    wrt = {'slots': slots, **dict(decoder.named_parameters())}

    decoded = decoder(slots)
    recon, masks = _direct(decoder, slots)
    weights = torch.randn_like(recon), torch.randn_like(masks)
    ours = (decoded.recon * weights[0]).sum() + (decoded.masks * weights[1]).sum()
    theirs = (recon * weights[0]).sum() + (masks * weights[1]).sum()
    pairs = {'recon': (decoded.recon, recon), 'masks': (decoded.masks, masks)}
    grads = (torch.autograd.grad(loss, list(wrt.values())) for loss in (ours, theirs))
    pairs |= dict(zip(wrt, zip(*grads, strict=True), strict=True))
    for name, (got, want) in pairs.items():
        error = (got - want).norm() / want.norm()
        assert error < bound, (name, error)
    # Slots share the patches, so that the order of mixing and projecting matters.
    assert masks.amax(dim=1).mean() < 0.95


def test_the_conv_decoder_mixes_first_and_paints_once() -> None:
    decoder = ConvDecoder(8, channels=4, broadcast_size=(2, 3), strides=(2,)).double()
    painted = []
    decoder.layers.register_forward_hook(lambda module, args, out: painted.append(args[0].shape))
    slots = torch.randn(2, 4, 8, dtype=torch.float64)
    decoded = decoder(slots)
    assert painted == [(2, 4, 2, 3)]
    assert decoded.masks is None
    assert decoded.slot_recons is None
    assert decoded.recon.shape == (2, 3, 4, 6)
    order = torch.tensor([3, 1, 0, 2])
    torch.testing.assert_close(decoder(slots[:, order]).recon, decoded.recon)
    # A slot's share of a place is a softmax: K equal slots are one.
    same = slots[:, :1].expand(-1, 4, -1)
    torch.testing.assert_close(decoder(same).recon, decoder(slots[:, :1]).recon)


def test_the_conv_decoder_is_not_additive() -> None:
    """An additive decoder's image is a sum over slots of what depends on one slot, but for alpha.

    With equal shares, changes of two slots would add up.
    """
    decoder = ConvDecoder(8, channels=16, broadcast_size=(4, 4), strides=(2,)).double()
    last = decoder.slot_layers[-1]
    torch.nn.init.zeros_(last.weight.data[-1])
    slots = torch.randn(1, 2, 8, dtype=torch.float64)
    first, second = slots.clone(), slots.clone()
    first[:, 0] += 1
    second[:, 1] += 1
    start, both = decoder(slots).recon, decoder(slots + 1).recon
    effects = decoder(first).recon - start + decoder(second).recon - start
    assert (both - start - effects).abs().max() > 1e-3


PAINT = {'channels': 4, 'broadcast_size': (2, 3), 'strides': (2,)}
SEQUENCE = {'grid': (2, 3), 'channels': 8, 'num_layers': 1, 'num_heads': 2}


@pytest.mark.parametrize(
    ('decoder', 'shape'),
    [
        (SpatialBroadcastDecoder(8, **PAINT), (2, 3, 4, 6)),
        (ConvDecoder(8, **PAINT), (2, 3, 4, 6)),
        (MLPDecoder(8, 5, grid=(2, 3), hidden_channels=8), (2, 6, 5)),
        (TransformerDecoder(8, 5, **SEQUENCE), (2, 6, 5)),
        (TransformerDecoder(8, 5, vocab_size=5, **SEQUENCE), (2, 6, 5)),
    ],
)
def test_decoders_give_what_they_say(decoder, shape) -> None:
    decoded = decoder(torch.randn(2, 4, 8))
    assert decoded.recon.shape == shape
    assert (decoded.masks is not None) == decoder.has_masks
    assert len(shape) == (4 if decoder.shape == 'image' else 3)
