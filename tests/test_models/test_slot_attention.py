import pytest
import torch

from mmocl.models.initializers import SlotInitializer
from mmocl.models.slot_heads import SlotAttention
from mmocl.structures import Features, SlotState

NAMES = {
    'norm_tokens.weight': 'norm_input.weight',
    'norm_tokens.bias': 'norm_input.bias',
    'norm_slots.weight': 'norm_slots.weight',
    'norm_slots.bias': 'norm_slots.bias',
    'to_query.weight': 'to_q.weight',
    'to_key.weight': 'to_k.weight',
    'to_value.weight': 'to_v.weight',
    **{f'update.gru.{n}_{k}': f'gru.{n}_{k}' for n in ('weight', 'bias') for k in ('ih', 'hh')},
    **{f'update.norm.{n}': f'mlp.norm.{n}' for n in ('weight', 'bias')},
    **{f'update.mlp.{i}.{n}': f'mlp.{i}.{n}' for i in (0, 2) for n in ('weight', 'bias')},
}


class GivenSlots(SlotInitializer):
    """An initializer that returns what it was given."""

    def __init__(self, slots: torch.Tensor) -> None:
        super().__init__(slots.shape[1], slots.shape[2])
        self.slots = slots

    def forward(self, features: Features, num_slots: int | None = None, noise=None) -> SlotState:
        return SlotState(self.slots)


def _head(case, **kwargs) -> tuple[SlotAttention, torch.Tensor, torch.Tensor]:
    slots = case['in.slots_init'].requires_grad_()
    tokens = case['in.inputs'].requires_grad_()
    head = SlotAttention(
        GivenSlots(slots), tokens.shape[2], slots.shape[2], mlp_channels=32, **kwargs
    )
    case.load(head, NAMES)
    return head, tokens, slots


@pytest.mark.parametrize('num_iters', [1, 3])
def test_agrees_with_oclf(golden, num_iters) -> None:
    case = golden('slot_attention_oclf')
    head, tokens, slots = _head(case)
    output = head(Features(tokens, (6, 6)), num_iters=num_iters)
    output.slots.square().sum().backward()
    run = f't{num_iters}'
    case.close(output.slots, f'out.{run}.slots')
    case.close(output.attn, f'out.{run}.attn')
    case.close(tokens.grad, f'grad.{run}.in.inputs')
    case.close(slots.grad, f'grad.{run}.in.slots_init')
    for mine, theirs in NAMES.items():
        if mine != 'norm_slots.bias':  # mathematically zero; only rounding is stored
            case.close(head.get_parameter(mine).grad, f'grad.{run}.w.{theirs}')


def test_attention_sums_to_one_over_slots_and_follows_their_order() -> None:
    slots = torch.randn(2, 4, 16)
    head = SlotAttention(GivenSlots(slots), 20, 16)
    features = Features(torch.randn(2, 36, 20), (6, 6))
    output = head(features)
    torch.testing.assert_close(output.attn.sum(1), torch.ones(2, 36))
    order = torch.tensor([2, 0, 3, 1])
    head.initializer = GivenSlots(slots[:, order])
    torch.testing.assert_close(head(features).slots, output.slots[:, order], rtol=1e-4, atol=1e-5)
