"""Systems of tokens, and parts that do not fit each other."""

import pytest
import torch
from torch import nn

from mmocl.models import SlotAutoencoder
from mmocl.registry import MODELS

SLATE = {
    'type': 'SlotAutoencoder',
    'tokenizer': {'type': 'DiscreteVAE', 'vocab_size': 6, 'channels': 8},
    'backbone': {'type': 'TokenBackbone', 'channels': 16},
    'slot_head': {
        'type': 'SlotAttention',
        'slot_dim': 8,
        'initializer': {'type': 'GaussianSlots', 'num_slots': 3},
    },
    'decoder': {
        'type': 'TransformerDecoder',
        'grid': (4, 4),
        'channels': 16,
        'num_layers': 1,
        'num_heads': 2,
    },
    'target': {'type': 'TokenTarget'},
    'losses': [{'type': 'TokenCrossEntropyLoss'}],
}
CONV = {'type': 'ConvEncoder', 'channels': 8, 'strides': (2, 2)}
MLP = {'type': 'MLPDecoder', 'grid': (4, 4), 'hidden_channels': 8}
FEATURES = {'target': {'type': 'FeatureTarget'}, 'losses': [{'type': 'ReconstructionLoss'}]}
IMAGES = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def _build(**changes) -> SlotAutoencoder:
    return MODELS.build({k: v for k, v in (SLATE | changes).items() if v is not None})


@pytest.mark.parametrize('backbone', [SLATE['backbone'], CONV])
def test_slate_learns_from_two_losses_and_draws(backbone) -> None:
    model = _build(backbone=backbone)
    losses = model.loss(IMAGES)
    assert losses.keys() == {'loss_tokenizer', 'loss_cross_entropy'}
    sum(losses.values()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad.abs().sum() > 0, name
    model.eval()
    (sample, _) = model.predict(IMAGES)
    assert sample.pred_image.data.shape == (3, 16, 16)
    assert sample.pred_masks.data.shape == (3, 4, 4)
    decoded = model.decode(model.encode(IMAGES).slots)
    assert model.to_images(decoded).shape == (2, 3, 16, 16)


def test_the_transformer_gives_the_tokenizer_no_gradient() -> None:
    model = _build()
    model.loss(IMAGES)['loss_cross_entropy'].backward()
    assert all(p.grad is None for p in model.tokenizer.parameters())
    assert model.decoder.embedding.table.weight.grad.abs().sum() > 0


class _MaskLoss(nn.Module):
    name = 'mask'
    needs_masks = True


class _NoMasks(nn.Module):
    has_masks = False


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'tokenizer': None}, r'model.target is a TokenTarget, but model.tokenizer is not set'),
        (
            {'tokenizer': None, 'decoder': MLP, **FEATURES},
            'model.backbone is a TokenBackbone, but model.tokenizer is not set',
        ),
        (
            {'backbone': {'type': 'TokenBackbone', 'channels': 12}},
            r'model.backbone.channels is 12, .* model.decoder.channels=16',
        ),
        (
            {'decoder': MLP, **FEATURES},
            'takes the embedding of the decoder, but model.decoder, a MLPDecoder',
        ),
        (
            {'decoder': SLATE['decoder'] | {'vocab_size': 6}, **FEATURES},
            'model.target is a FeatureTarget, .* model.backbone is a TokenBackbone',
        ),
        (
            {'backbone': CONV, 'decoder': MLP},
            "model.decoder, a MLPDecoder, reconstructs 'tokens', but model.target, a TokenTarget",
        ),
        (
            {'backbone': CONV, **FEATURES, 'decoder': {'type': 'SpatialBroadcastDecoder'}},
            "a SpatialBroadcastDecoder, reconstructs 'image', .* a FeatureTarget, gives 'tokens'",
        ),
        (
            {'losses': [{'type': 'ReconstructionLoss'}]},
            r"model.losses\[0\], a ReconstructionLoss, compares 'image' or 'tokens', but .* 'ids'",
        ),
        (
            {'backbone': CONV, **FEATURES, 'decoder': _NoMasks(), 'losses': [_MaskLoss()]},
            r'model.losses\[0\], a _MaskLoss, needs masks, but model.decoder, a _NoMasks',
        ),
    ],
)
def test_parts_that_do_not_fit_name_both_keys(changes, message) -> None:
    with pytest.raises(ValueError, match=message):
        _build(**changes)


def test_a_grid_of_another_size_is_named() -> None:
    with pytest.raises(ValueError, match=r'set decoder.grid to the grid of the backbone or token'):
        _build(backbone=CONV).loss(torch.rand(2, 3, 32, 32))
