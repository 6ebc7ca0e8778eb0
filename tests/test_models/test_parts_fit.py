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
FEATURES_OF_CONV = {'backbone': CONV, **FEATURES}
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
            {'backbone': CONV, 'decoder': MLP, **FEATURES},
            'model.tokenizer is set, but model.target, a FeatureTarget, does not use its tokens',
        ),
        (
            {'target': {'type': 'TokenTarget', 'vocab_size': 5}},
            'model.target.vocab_size is 5, but model.tokenizer.vocab_size is 6',
        ),
        (
            {'decoder': SLATE['decoder'] | {'vocab_size': 5}},
            'model.decoder.vocab_size is 5, but model.tokenizer.vocab_size is 6',
        ),
        (
            {'losses': [{'type': 'DiscretizedGaussianLoss'}]},
            r"model.losses\[0\], a DiscretizedGaussianLoss, compares 'image', but .* 'ids'",
        ),
        (
            {'losses': [{'type': 'SetPredictionLoss'}]},
            r"model.losses\[0\], a SetPredictionLoss, compares 'set', but .* 'ids'",
        ),
        (
            {'backbone': {'type': 'TokenBackbone', 'channels': 12}},
            r'model.backbone.channels is 12, .* model.decoder.channels=16',
        ),
        (
            {'decoder': MLP},
            'takes the embedding of the decoder, but model.decoder, a MLPDecoder',
        ),
        (
            {'backbone': CONV, 'decoder': MLP},
            "model.decoder, a MLPDecoder, makes 'tokens', but model.target, a TokenTarget",
        ),
        (
            {'tokenizer': None, **FEATURES_OF_CONV, 'decoder': {'type': 'SpatialBroadcastDecoder'}},
            "a SpatialBroadcastDecoder, makes 'image', .* a FeatureTarget, gives 'tokens'",
        ),
        (
            {'losses': [{'type': 'ReconstructionLoss'}]},
            r"model.losses\[0\], a ReconstructionLoss, compares 'image' or 'tokens', but .* 'ids'",
        ),
        (
            {**FEATURES_OF_CONV, 'tokenizer': None, 'decoder': _NoMasks(), 'losses': [_MaskLoss()]},
            r'model.losses\[0\], a _MaskLoss, needs masks, but model.decoder, a _NoMasks',
        ),
    ],
)
def test_parts_that_do_not_fit_name_both_keys(changes, message) -> None:
    with pytest.raises(ValueError, match=message):
        _build(**changes)


def test_a_grid_of_another_size_is_named() -> None:
    with pytest.raises(ValueError, match=r'grid of \(4, 4\), .* a grid of \(8, 8\), 64 tokens'):
        _build(backbone=CONV).loss(torch.rand(2, 3, 32, 32))
    # As many tokens, but elsewhere.
    with pytest.raises(ValueError, match=r'grid of \(4, 4\), .* a grid of \(2, 8\), 16 tokens'):
        _build(backbone=CONV).loss(torch.rand(2, 3, 8, 32))


def test_a_set_predictor_is_about_sets() -> None:
    properties = [{'name': 'position', 'size': 2, 'kind': 'coordinate'}]
    config = {
        'type': 'SlotSetPredictor',
        'backbone': CONV,
        'slot_head': SLATE['slot_head'],
        'decoder': {'type': 'PropertyDecoder', 'properties': properties},
        'losses': [{'type': 'SetPredictionLoss'}],
    }
    MODELS.build(config)
    with pytest.raises(ValueError, match=r"a MLPDecoder, makes 'tokens', but .* predicts 'set'"):
        MODELS.build({**config, 'decoder': {**MLP, 'out_channels': 3}})
    with pytest.raises(ValueError, match="a ReconstructionLoss, compares 'image' or 'tokens'"):
        MODELS.build({**config, 'losses': [{'type': 'ReconstructionLoss'}]})
