from dataclasses import replace

import pytest
import torch

from mmocl.models.slot_heads import InitialSlots
from mmocl.registry import MODELS
from mmocl.structures import Features

FEATURES = Features(torch.randn(2, 36, 12, generator=torch.Generator().manual_seed(1)), (6, 6))
INITIALIZERS = [
    {'type': 'GaussianSlots'},
    {'type': 'LearnedSlots'},
    {'type': 'BufferSlots'},
    {'type': 'TransformerSlots'},
    {'type': 'PooledSlots', 'pool_size': 2},
]


def _head(initializer, **options) -> InitialSlots:
    torch.manual_seed(0)
    options = {'in_channels': 12, 'slot_dim': 16, 'embed_channels': 24, **options}
    return InitialSlots({'num_slots': 4, **initializer}, **options)


@pytest.mark.parametrize('initializer', INITIALIZERS, ids=str)
def test_slots_are_those_of_the_initializer(initializer) -> None:
    head = _head(initializer)
    torch.manual_seed(3)
    output = head(FEATURES)
    torch.manual_seed(3)
    embedded = replace(FEATURES, tokens=head.embed(FEATURES.tokens))
    want = head.initializer(embedded).mean
    assert torch.equal(output.slots, want)
    assert torch.equal(output.state.mean, output.init.mean)
    torch.testing.assert_close(output.attn, torch.full((2, 4, 36), 0.25))


def test_more_iterations_change_nothing() -> None:
    head = _head({'type': 'PooledSlots'})
    assert torch.equal(head(FEATURES, num_iters=3).slots, head(FEATURES).slots)
    assert torch.equal(head(FEATURES, num_iters=3).attn, head(FEATURES).attn)


def test_all_parameters_learn() -> None:
    head = _head({'type': 'PooledSlots'})
    head(FEATURES).slots.square().sum().backward()
    for name, parameter in head.named_parameters():
        assert parameter.grad.abs().sum() > 0, name


def test_noise_and_counts_reach_the_initializer() -> None:
    head = _head({'type': 'GaussianSlots'})
    noise = torch.randn(2, 7, 16)
    initializer = head.initializer
    want = initializer.mean + initializer.log_scale.exp() * noise
    assert torch.equal(head(FEATURES, num_slots=7, noise=noise).slots, want)
    with pytest.raises(ValueError, match='cannot use the given noise'):
        _head({'type': 'PooledSlots'})(FEATURES, noise=torch.zeros(2, 4, 16))


def test_masks_of_tokens_and_slots() -> None:
    head = _head({'type': 'PooledSlots', 'pool_size': 2})
    mask = torch.ones(2, 36, dtype=torch.bool)
    mask[0, 30:] = False
    slot_mask = torch.tensor([[True] * 4, [True, False, True, False]])
    tokens = FEATURES.tokens.masked_fill(~mask[:, :, None], torch.nan).requires_grad_()
    output = head(Features(tokens, (6, 6), mask), slot_mask=slot_mask)
    assert torch.equal(output.active, slot_mask)
    torch.testing.assert_close(output.attn.sum(1), mask.float())
    assert (output.attn[0, :, :30] == 0.25).all()
    assert (output.attn[1, ::2] == 0.5).all()
    assert (output.attn[1, 1::2] == 0).all()
    output.slots.square().sum().backward()
    assert tokens.grad.isfinite().all()
    assert (tokens.grad[~mask] == 0).all()


def test_widths_without_an_embedding() -> None:
    options = {'in_channels': 12, 'slot_dim': 16, 'embed_channels': None}
    head = _head({'type': 'PooledSlots', 'in_channels': 12}, **options)
    assert head(FEATURES).slots.shape == (2, 4, 16)
    with pytest.raises(ValueError, match='tokens of 16 channels, got 12; set in_channels'):
        _head({'type': 'PooledSlots'}, **options)(FEATURES)


@pytest.mark.parametrize('decoder', ['SpatialBroadcastDecoder', 'ConvDecoder'])
def test_it_makes_an_autoencoder(decoder) -> None:
    model = MODELS.build(
        {
            'type': 'SlotAutoencoder',
            'backbone': {'type': 'ConvEncoder', 'channels': 8, 'strides': (2,)},
            'slot_head': {
                'type': 'InitialSlots',
                'slot_dim': 8,
                'initializer': {'type': 'PooledSlots', 'num_slots': 3, 'pool_size': 2},
            },
            'decoder': {
                'type': decoder,
                'channels': 8,
                'broadcast_size': (4, 4),
                'strides': (2, 2),
            },
            'target': {'type': 'PixelTarget'},
            'losses': [{'type': 'ReconstructionLoss'}],
        }
    )
    images = torch.rand(4, 3, 16, 16) * 2 - 1
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    losses = []
    for _ in range(10):
        loss = model.loss(images)['loss_reconstruction']
        optimizer.zero_grad()
        loss.backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad.abs().sum() > 0, name
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert ('pred_masks' in model.predict(images)[0]) == model.decoder.has_masks
