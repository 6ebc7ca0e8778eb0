import math

import pytest
import torch

from mmocl.models.losses import CosineSlotLoss
from mmocl.registry import MODELS
from mmocl.structures import Decoded, Features, ModelOutput, SlotOutput, SlotState, Target


def _output(slots: torch.Tensor, active: torch.Tensor | None = None) -> ModelOutput:
    batch, num_slots, _ = slots.shape
    attn = torch.full((batch, num_slots, 4), 1 / num_slots)
    state = SlotState(slots)
    tokens = torch.zeros(batch, 4, 3)
    head = SlotOutput(slots, attn, state, state, active)
    return ModelOutput(Features(tokens, (2, 2)), head, Target(tokens), Decoded(tokens))


# Cosines: 0.6, 0 and 0.8; -1, 0 and 0.
SLOTS = torch.tensor(
    [
        [[2.0, 0.0], [3.0, 4.0], [0.0, 1.0]],
        [[1.0, 0.0], [-5.0, 0.0], [0.0, 0.5]],
    ]
)


@pytest.mark.parametrize(
    ('kwargs', 'want'),
    [
        # Ordered pairs, over 2 images of 3 * 3.
        ({'weight': 1.0}, 2 * (0.4 + 0.6) / 18),
        ({'weight': 1.0, 'margin': 0.0}, 2 * (0.6 + 0.8) / 18),
        ({'weight': 1.0, 'margin': 0.7}, 2 * 0.1 / 18),
        ({}, 0.01 * 2 * (0.4 + 0.6) / 18),
    ],
)
def test_value(kwargs, want) -> None:
    torch.testing.assert_close(CosineSlotLoss(**kwargs)(_output(SLOTS)), torch.tensor(want))


def test_gradient_turns_slots_away_that_are_too_close() -> None:
    slots = SLOTS[:1, :2].clone().requires_grad_()
    CosineSlotLoss(weight=1.0)(_output(slots)).backward()
    # 2 / 4 of d cos / d a = (u_b - cos u_a) / |a|.
    want = 0.5 * torch.tensor([[[0.0, 0.8 / 2], [(1 - 0.36) / 5, -0.48 / 5]]])
    torch.testing.assert_close(slots.grad, want)
    # Nothing to do for those beyond the margin.
    slots = SLOTS[1:].clone().requires_grad_()
    CosineSlotLoss(weight=1.0)(_output(slots)).backward()
    assert (slots.grad == 0).all()


def test_gradients_are_right() -> None:
    slots = torch.randn(2, 4, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: CosineSlotLoss(1.0)(_output(x)), slots)


def test_it_agrees_with_torch() -> None:
    slots = torch.randn(3, 5, 4)
    first = slots[:, :, None].expand(-1, -1, 5, -1).reshape(-1, 4)
    second = slots[:, None].expand(-1, 5, -1, -1).reshape(-1, 4)
    sign = (2 * torch.eye(5) - 1).flatten().repeat(3)
    want = torch.nn.functional.cosine_embedding_loss(first, second, sign, margin=0.2)
    assert want > 0.05
    torch.testing.assert_close(CosineSlotLoss(weight=1.0)(_output(slots)), want)


def test_inactive_slots_are_left_out_of_sum_and_number() -> None:
    active = torch.tensor([[True, True, False], [True, True, True]])
    slots = SLOTS.clone()
    slots[~active] = torch.nan
    slots.requires_grad_()
    loss = CosineSlotLoss(weight=1.0)(_output(slots, active))
    torch.testing.assert_close(loss, torch.tensor(2 * 0.4 / (4 + 9)))
    loss.backward()
    assert (slots.grad[~active] == 0).all()
    assert (slots.grad[0, :2].abs().sum(1) > 0).all()
    everything = torch.ones_like(active)
    torch.testing.assert_close(
        CosineSlotLoss()(_output(SLOTS, everything)), CosineSlotLoss()(_output(SLOTS))
    )


def test_a_slot_of_zeros_has_a_finite_gradient() -> None:
    slots = torch.zeros(1, 3, 2).requires_grad_()
    CosineSlotLoss(margin=0.0)(_output(slots)).backward()
    assert slots.grad.isfinite().all()


def test_order_and_length_of_the_slots_do_not_matter() -> None:
    loss = CosineSlotLoss(weight=1.0)
    slots = torch.randn(2, 5, 3)
    changed = (slots * torch.rand(2, 5, 1).add(0.5))[:, [2, 0, 4, 3, 1]]
    torch.testing.assert_close(loss(_output(changed)), loss(_output(slots)))
    # Slots of other images are no pairs.
    moved = torch.stack([slots[0].roll(1, 0), slots[1].roll(2, 0)])
    torch.testing.assert_close(loss(_output(moved)), loss(_output(slots)))


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        ({'weight': -1.0}, 'must not be negative, got -1'),
        ({'weight': math.nan}, 'must not be negative, got nan'),
        ({'margin': -0.1}, r'must be in \[0, 1\), got -0.1'),
        ({'margin': 1.0}, r'must be in \[0, 1\), got 1.0'),
    ],
)
def test_bad_arguments_are_refused(kwargs, message) -> None:
    with pytest.raises(ValueError, match=message):
        CosineSlotLoss(**kwargs)


def test_cosines_stay_in_float32_under_autocast() -> None:
    slots = torch.randn(4, 5, 8)
    loss = CosineSlotLoss(weight=1.0)
    with torch.autocast('cpu', torch.bfloat16):
        half = loss(_output(slots))
    assert half.dtype == torch.float32
    assert torch.equal(half, loss(_output(slots)))


def test_it_trains_in_a_model() -> None:
    model = MODELS.build(
        {
            'type': 'SlotAutoencoder',
            'backbone': {'type': 'ConvEncoder', 'channels': 8, 'strides': (2,)},
            'slot_head': {
                'type': 'SlotAttention',
                'slot_dim': 8,
                'initializer': {'type': 'LearnedSlots', 'num_slots': 3},
            },
            'decoder': {'type': 'MLPDecoder', 'grid': (8, 8), 'hidden_channels': 8},
            'target': {'type': 'PixelTarget', 'patch_size': 2},
            'losses': [
                {'type': 'ReconstructionLoss'},
                {'type': 'CosineSlotLoss', 'weight': 1.0, 'margin': 0.0},
            ],
        }
    )
    images = torch.randn(2, 3, 16, 16)
    optimizer = torch.optim.SGD(model.slot_head.parameters(), lr=0.05)
    losses = model.loss(images)
    assert losses.keys() == {'loss_reconstruction', 'loss_cosine'}
    first = losses['loss_cosine'].item()
    assert first > 0
    losses['loss_cosine'].backward()
    optimizer.step()
    assert model.loss(images)['loss_cosine'] < first
