import math

import torch

from mmocl.models.slot_heads import SlotMixture
from mmocl.structures import Features


def test_values_and_gradients_of_the_direct_form() -> None:
    """The method of the paper written out in loops over (B, K, N, D), in float64."""
    head = SlotMixture({'type': 'LearnedSlots', 'num_slots': 3}, 8, min_var=0.0).double()
    tokens = torch.randn(2, 30, 8, dtype=torch.float64)
    keys, values = head.project(tokens)
    mean = head.initializer.queries.expand(2, -1, -1)
    log_std, weight = torch.zeros_like(mean), torch.full((2, 3), 1 / 3, dtype=torch.float64)
    for _ in range(3):
        center, width = head.norm_slots(torch.cat([mean, log_std], dim=2)).chunk(2, dim=2)
        log_var = 2 * head.to_query(width)
        offset = keys[:, None] - head.to_query(center)[:, :, None]
        density = offset.square() / log_var.exp()[:, :, None] + log_var[:, :, None]
        density = -0.5 * (density + math.log(2 * math.pi)).sum(3)
        attn = (density + weight.log()[:, :, None]).softmax(1)
        weight = attn.mean(2)
        share = attn / attn.sum(2, keepdim=True)
        mean = head.update(torch.einsum('bkn,bnd->bkd', share, values), center)
        squares = (values[:, None] - mean[:, :, None]).square()
        log_std = 0.5 * (torch.einsum('bkn,bknd->bkd', share, squares) + 1e-8).log()
    slots = head.to_output(torch.cat([mean, log_std], dim=2))
    output = head(Features(tokens, (5, 6)))
    torch.testing.assert_close(output.slots, slots)
    torch.testing.assert_close(output.attn, attn)
    torch.testing.assert_close(output.state.log_weight.exp(), weight)
    leaves = list(head.parameters())
    got = torch.autograd.grad(output.slots.square().sum(), leaves)
    want = torch.autograd.grad(slots.square().sum(), leaves)
    torch.testing.assert_close(got, want)


def test_responsibilities_hold_far_from_the_origin() -> None:
    """A whole step in float32 on keys at an offset of 1e4, against itself in float64."""
    head = SlotMixture({'type': 'LearnedSlots', 'num_slots': 3}, 8, num_iters=1)
    head.norm_tokens = torch.nn.Identity()
    torch.nn.init.eye_(head.to_key.weight)
    tokens = torch.randn(2, 40, 8) + 1e4
    head.norm_slots.bias.data[:8] = 1e4
    torch.nn.init.eye_(head.to_query.weight)
    got = head(Features(tokens, (5, 8))).attn.double()
    want = head.double()(Features(tokens.double(), (5, 8))).attn
    assert (got - want).abs().max() < 1e-3
