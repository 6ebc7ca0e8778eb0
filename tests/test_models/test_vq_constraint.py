import pytest
import torch

from mmocl.models.losses import VQConstraintLoss
from mmocl.registry import MODELS
from mmocl.structures import Decoded, Features, ModelOutput, SlotOutput, SlotState, Target


def _output(slots: torch.Tensor, init: torch.Tensor, active=None) -> ModelOutput:
    batch, num_slots, _ = slots.shape
    attn = torch.full((batch, num_slots, 4), 1 / num_slots)
    out = SlotOutput(slots, attn, SlotState(slots), SlotState(init), active)
    tokens = torch.zeros(batch, 4, 3)
    return ModelOutput(Features(tokens, (2, 2)), out, Target(tokens), Decoded(tokens))


# Distances of the slots: 9 + 16, 1; 4, 0.
FINAL = torch.tensor([[[3.0, 4.0], [1.0, 1.0]], [[0.0, 2.0], [5.0, 6.0]]])
INIT = torch.tensor([[[0.0, 0.0], [0.0, 1.0]], [[0.0, 0.0], [5.0, 6.0]]])


def test_it_is_the_mean_squared_norm_and_moves_the_start_only() -> None:
    final, init = FINAL.clone().requires_grad_(), INIT.clone().requires_grad_()
    loss = VQConstraintLoss(weight=0.1)(_output(final, init))
    torch.testing.assert_close(loss, torch.tensor(0.1 * 30 / 4))
    loss.backward()
    assert final.grad is None
    torch.testing.assert_close(init.grad, 0.1 * 2 * (INIT - FINAL) / 4)


def test_inactive_slots_are_left_out() -> None:
    active = torch.tensor([[False, True], [True, True]])
    loss = VQConstraintLoss(weight=1.0)(_output(FINAL, INIT, active))
    torch.testing.assert_close(loss, torch.tensor(5 / 3))


@pytest.mark.parametrize('gradient', ['bilevel', 'implicit'])
def test_it_adds_to_the_gradient_of_learned_queries(gradient) -> None:
    model = MODELS.build(
        {
            'type': 'SlotAutoencoder',
            'backbone': {'type': 'ConvEncoder', 'channels': 8, 'strides': (2,)},
            'slot_head': {
                'type': 'SlotAttention',
                'slot_dim': 8,
                'gradient': gradient,
                'initializer': {'type': 'LearnedSlots', 'num_slots': 3},
            },
            'decoder': {'type': 'MLPDecoder', 'grid': (8, 8), 'hidden_channels': 8},
            'target': {'type': 'PixelTarget', 'patch_size': 2},
            'losses': [
                {'type': 'ReconstructionLoss'},
                {'type': 'VQConstraintLoss', 'weight': 0.5},
            ],
        }
    )
    images = torch.randn(2, 3, 16, 16)
    losses = model.loss(images)
    assert losses.keys() == {'loss_reconstruction', 'loss_vq_constraint'}
    queries = model.slot_head.initializer.queries
    if gradient == 'implicit':
        assert not losses['loss_vq_constraint'].requires_grad
        return
    (both,) = torch.autograd.grad(sum(losses.values()), queries, retain_graph=True)
    (alone,) = torch.autograd.grad(losses['loss_reconstruction'], queries)
    final = model.encode(images).slots
    # Images share the queries: the mean over images of 2 (query - final), over 3 slots.
    added = 0.5 * 2 * (queries - final).mean(dim=0, keepdim=True) / 3
    assert alone.abs().sum() > 0
    torch.testing.assert_close(both - alone, added, atol=1e-5, rtol=1e-4)
