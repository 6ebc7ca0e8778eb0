"""What encoders and decoders of pixels and patches have to reproduce, case by case."""

from collections.abc import Callable

import torch
from case import Case
from core import both
from torch import nn

from mmocl.models.backbones import ConvEncoder
from mmocl.models.decoders import MLPDecoder, SpatialBroadcastDecoder
from mmocl.models.layers import SoftPositionEmbedding


def load(case: Case, module: nn.Module, names: dict[str, str]) -> None:
    """Fill with golden weights whose layers have each a width of their own, ours all the same."""
    for mine, theirs in names.items():
        owner, _, name = mine.rpartition('.')
        weight = nn.Parameter(case[f'w.{theirs}'].detach().clone())
        setattr(module.get_submodule(owner), name, weight)
    case.load(module, names)


def encoder_cnn(case: Case) -> None:
    """The convolutions, without the position that ConvEncoder adds to their map."""
    image, strides = case['in.image'], case.hyper['strides']
    encoder = ConvEncoder(
        case.hyper['channels'][-1], strides, case.hyper['kernel_size'], image.shape[1]
    )
    for parameter in encoder.position.to(case.dtype).parameters():
        nn.init.zeros_(parameter)
    names = {}
    for i in range(len(strides)):
        names |= both(str(2 * i), f'conv.{i}')
    load(case, encoder.layers, names)
    features = encoder(image)
    case.compare('out.features', features.tokens.mT.unflatten(2, features.grid))
    case.compare_gradients('', features.tokens.square().sum())


def soft_position_embedding(case: Case) -> None:
    """The embedding of three sources, the grid, and the one of SAVi from the same layer."""
    maps = case['in.features']
    position = SoftPositionEmbedding(maps.shape[1])
    case.load(position, both('project', 'pos_embed'))
    for source in ('boqsa', 'oclf', 'psa'):
        case.compare(f'out.{source}.features', position(maps))
    # 2 y - 1 = y - (1 - y).
    weight = case['w.pos_embed_savi.weight'].detach()
    weights = {'weight': torch.cat([weight, -weight], 1), 'bias': case['w.pos_embed_savi.bias']}
    position.project.load_state_dict(weights)
    case.compare('out.oclf_savi.features', position(maps))

    coordinates = SoftPositionEmbedding(4).to(case.dtype)
    coordinates.project.load_state_dict({'weight': torch.eye(4), 'bias': torch.zeros(4)})
    grid = coordinates(torch.zeros_like(maps[:1, :1]).expand(-1, 4, -1, -1))
    case.compare('out.grid', grid[0].permute(1, 2, 0))


def decoder_spatial_broadcast(case: Case) -> None:
    """Canvases of transposed convolutions; the last hidden layer has stride 1."""
    slots, hyper = case['in.slots'], case.hyper
    strides = [*hyper['strides'], 1]
    decoder = SpatialBroadcastDecoder(
        slots.shape[2],
        len(case['w.deconv_out.bias']) - 1,
        hyper['channels'][-1],
        tuple(hyper['init_resolution']),
        strides,
    )
    names = both('position.project', 'pos_embed')
    for i in range(len(strides)):
        names |= both(f'layers.{2 * i}', f'deconv.{i}')
    load(case, decoder, names | both(f'layers.{2 * len(strides)}', 'deconv_out'))
    decoded = decoder(slots)
    case.compare('out.reconstruction', decoded.recon)
    case.compare('out.masks', decoded.masks[:, :, None])
    case.compare('out.slot_reconstructions', decoded.slot_recons)
    case.compare_gradients('', decoded.recon.square().sum())


def decoder_patch_mlp(case: Case) -> None:
    """The short cuts of MLPDecoder are exact."""
    slots, hidden = case['in.slots'], case.hyper['hidden']
    embedded = 'w.inp_transform.weight' in case
    decoder = MLPDecoder(
        slots.shape[2],
        case.hyper['feature_dim'],
        grid=(1, case.hyper['num_patches']),
        hidden_channels=hidden[-1],
        num_hidden=len(hidden),
        embed_channels=case.hyper['decoder_input_dim'] if embedded else None,
    )
    names = {'position': 'pos_embed', **both('project', f'mlp.{2 * len(hidden)}')}
    if embedded:
        names |= both('embed', 'inp_transform')
    for i in range(len(hidden)):
        names |= both(f'hidden.{i}', f'mlp.{2 * i}')
    load(case, decoder, names)
    decoded = decoder(slots)
    case.compare('out.reconstruction', decoded.recon)
    case.compare('out.masks', decoded.masks.flatten(2))
    case.compare_gradients('', decoded.recon.square().sum())


PIXELS: dict[str, Callable[[Case], None]] = {
    'decoder_patch_mlp': decoder_patch_mlp,
    'decoder_patch_mlp_projected': decoder_patch_mlp,
    'decoder_spatial_broadcast': decoder_spatial_broadcast,
    'encoder_cnn': encoder_cnn,
    'soft_position_embedding': soft_position_embedding,
}
