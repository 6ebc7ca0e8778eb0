import pytest
import torch
from torch import nn

from mmocl.models.decoders import MLPDecoder, SpatialBroadcastDecoder
from mmocl.structures import Target


def test_mlp_decoder_agrees_with_oclf(golden) -> None:
    """The short cuts are exact: forward and backward agree with the direct form."""
    case = golden('decoder_patch_mlp')
    decoder = MLPDecoder(12, 16, grid=(5, 5), hidden_channels=24, num_hidden=2)
    names = {'position': 'pos_embed'}
    for mine, theirs in (('hidden.0', 'mlp.0'), ('hidden.1', 'mlp.2'), ('project', 'mlp.4')):
        names |= {f'{mine}.{n}': f'{theirs}.{n}' for n in ('weight', 'bias')}
    case.load(decoder, names)
    slots = case['in.slots'].requires_grad_()
    decoded = decoder(slots)
    decoded.recon.square().sum().backward()
    case.close(decoded.recon, 'out.reconstruction')
    case.close(decoded.masks.flatten(2), 'out.masks')
    case.close(slots.grad, 'grad.in.slots')
    for mine, theirs in names.items():
        case.close(decoder.get_parameter(mine).grad, f'grad.w.{theirs}')


def test_spatial_broadcast_agrees_with_boqsa(golden) -> None:
    case = golden('decoder_spatial_broadcast')
    decoder = SpatialBroadcastDecoder(16, channels=8, broadcast_size=(4, 4), strides=(2, 2, 1))
    # The golden network has 12 channels behind the first layer.
    decoder.layers[0] = nn.ConvTranspose2d(16, 12, 5, stride=2, padding=2, output_padding=1)
    decoder.layers[2] = nn.ConvTranspose2d(12, 8, 5, stride=2, padding=2, output_padding=1)
    names = {f'position.project.{n}': f'pos_embed.{n}' for n in ('weight', 'bias')}
    for mine, theirs in ((0, 'deconv.0'), (2, 'deconv.1'), (4, 'deconv.2'), (6, 'deconv_out')):
        names |= {f'layers.{mine}.{n}': f'{theirs}.{n}' for n in ('weight', 'bias')}
    case.load(decoder, names)
    decoded = decoder(case['in.slots'])
    case.close(decoded.recon, 'out.reconstruction')
    case.close(decoded.masks[:, :, None], 'out.masks')
    case.close(decoded.slot_recons, 'out.slot_reconstructions')


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
    with pytest.raises(ValueError, match=r'grid of \(4, 4\), 16 patches, but the target has 9'):
        MLPDecoder(8, 5, grid=(4, 4))(torch.randn(1, 2, 8), Target(torch.zeros(1, 9, 5)))
    with pytest.raises(ValueError, match=r'paints \(16, 16\) images, but the target is \(32, 32\)'):
        SpatialBroadcastDecoder(8, channels=4, strides=(2,))(
            torch.randn(1, 2, 8), Target(torch.zeros(1, 3, 32, 32))
        )
