"""Every initializer x slot head x gradient x decoder builds, trains a step, predicts, composes."""

from itertools import product

import pytest
import torch

from mmocl.models.backbones import ConvEncoder
from mmocl.registry import MODELS

INITIALIZERS = ['GaussianSlots', 'LearnedSlots', 'BufferSlots', 'TransformerSlots', 'PooledSlots']
HEADS = ['SlotAttention', 'ProbabilisticSlotAttention', 'SlotMixture']
GRADIENTS = ['unrolled', 'implicit', 'bilevel']
PAINT = {'channels': 4, 'broadcast_size': (4, 4), 'strides': (2, 2)}
SEQUENCE = {'type': 'TransformerDecoder', 'num_layers': 1, 'num_heads': 2}
RECONSTRUCTION = [{'type': 'ReconstructionLoss'}]
PIXELS = {'target': {'type': 'PixelTarget'}, 'losses': RECONSTRUCTION}
with torch.random.fork_rng():
    # The same weights whatever was imported before: with some, one slot takes all and no gradient
    # reaches the slot head.
    torch.manual_seed(0)
    BACKBONE = ConvEncoder(channels=8, strides=(2,)).requires_grad_(False)
FEATURES = {
    'backbone': BACKBONE,
    'target': {'type': 'FeatureTarget'},
    'losses': RECONSTRUCTION,
}
DECODERS = {
    'spatial_broadcast': {'decoder': {'type': 'SpatialBroadcastDecoder', **PAINT}, **PIXELS},
    'conv': {'decoder': {'type': 'ConvDecoder', **PAINT}, **PIXELS},
    'mlp': {
        'decoder': {'type': 'MLPDecoder', 'grid': (8, 8), 'hidden_channels': 8},
        **FEATURES,
    },
    'transformer': {'decoder': {**SEQUENCE, 'grid': (8, 8)}, **FEATURES},
    'tokens': {
        'tokenizer': {'type': 'DiscreteVAE', 'vocab_size': 6, 'channels': 4},
        'decoder': {**SEQUENCE, 'grid': (4, 4), 'channels': 8},
        'target': {'type': 'TokenTarget'},
        'losses': [{'type': 'TokenCrossEntropyLoss'}],
    },
}


@pytest.mark.parametrize(
    ('initializer', 'head', 'gradient', 'decoder'),
    list(product(INITIALIZERS, HEADS, GRADIENTS, DECODERS)),
)
def test_combination(initializer, head, gradient, decoder) -> None:
    model = MODELS.build(
        {
            'type': 'SlotAutoencoder',
            'backbone': {'type': 'ConvEncoder', 'channels': 8, 'strides': (2,)},
            'slot_head': {
                'type': head,
                'slot_dim': 8,
                'gradient': gradient,
                'initializer': {'type': initializer, 'num_slots': 3},
            },
            **DECODERS[decoder],
        }
    )
    images = torch.randn(2, 3, 16, 16)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loss, _ = model.parse_losses(model.loss(images))
    loss.backward()
    for name, parameter in model.named_parameters():
        assert not parameter.requires_grad or parameter.grad.abs().sum() > 0, name
    optimizer.step()
    model.eval()
    sample = model.predict(images)[0]
    assert ('pred_masks' in sample) == model.decoder.has_masks
    masks = sample.get('pred_masks', sample.pred_attn).data
    torch.testing.assert_close(masks.sum(0), torch.ones(masks.shape[1:]))
    # Without a target, as scenes are composed.
    slots = model.encode(images).slots
    decoded = model.decode(slots)
    assert decoded.recon.isfinite().all()
    drawn = model.to_images(decoded)
    assert (drawn is None) == (model.target.shape == 'tokens')
    assert drawn is None or drawn.shape == images.shape
