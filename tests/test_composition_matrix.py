"""Every initializer x slot head x gradient x decoder builds, trains a step and predicts."""

from itertools import product

import pytest
import torch

from mmocl.registry import MODELS

INITIALIZERS = ['GaussianSlots', 'LearnedSlots', 'BufferSlots', 'TransformerSlots', 'PooledSlots']
HEADS = ['SlotAttention', 'ProbabilisticSlotAttention', 'SlotMixture']
GRADIENTS = ['unrolled', 'implicit', 'bilevel']
DECODERS = {
    'SpatialBroadcastDecoder': (
        {'channels': 4, 'broadcast_size': (4, 4), 'strides': (2, 2)},
        {'type': 'PixelTarget'},
    ),
    'ConvDecoder': (
        {'channels': 4, 'broadcast_size': (4, 4), 'strides': (2, 2)},
        {'type': 'PixelTarget'},
    ),
    'MLPDecoder': ({'grid': (8, 8), 'hidden_channels': 8}, {'type': 'FeatureTarget'}),
    'TransformerDecoder': (
        {'grid': (8, 8), 'num_layers': 1, 'num_heads': 2},
        {'type': 'FeatureTarget'},
    ),
}


@pytest.mark.parametrize(
    ('initializer', 'head', 'gradient', 'decoder'),
    list(product(INITIALIZERS, HEADS, GRADIENTS, DECODERS)),
)
def test_combination(initializer, head, gradient, decoder) -> None:
    arguments, target = DECODERS[decoder]
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
            'decoder': {'type': decoder, **arguments},
            'target': target,
            'losses': [{'type': 'ReconstructionLoss'}],
        }
    )
    images = torch.randn(2, 3, 16, 16)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loss, _ = model.parse_losses(model.loss(images))
    loss.backward()
    for name, parameter in model.named_parameters():
        assert not parameter.requires_grad or parameter.grad.abs().sum() > 0, name
    optimizer.step()
    sample = model.predict(images)[0]
    assert ('pred_masks' in sample) == model.decoder.has_masks
    masks = sample.get('pred_masks', sample.pred_attn).data
    torch.testing.assert_close(masks.sum(0), torch.ones(masks.shape[1:]))
