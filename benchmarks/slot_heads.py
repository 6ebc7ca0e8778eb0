"""Slot heads, forward and backward: against slot_attention from PyPI, and by gradient mode.

All take the same tokens, update the same number of slots as often and have an MLP of the same
width; biases are those of the package on PyPI. "Products alone" runs the matrix products of a form
again on random numbers, forward and backward, and nothing else. ``saved`` is what autograd keeps
for the backward pass, every storage once, parameters left out (:mod:`benchmarks.saved_tensors`);
"by iterations" are the updates, without tokens, keys and values, which all of them look at.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.measure import Setting, compare
from benchmarks.products import products_of
from benchmarks.saved_tensors import saved_by
from mmocl.models.slot_heads import (
    ProbabilisticSlotAttention,
    SlotAttention,
    SlotHead,
    SlotMixture,
)
from mmocl.require_module import require_module
from mmocl.structures import Features

PEER = 'slot_attention (PyPI)'
ALONE = 'its products alone'
SIZE = (32, 256, 7, 256, 3)  # B, N, K, D, T
TINY = (2, 16, 3, 8, 2)
GRADIENTS = ('unrolled', 'implicit', 'bilevel')
# The last one is that of configs/psa/psa_dino_coco.py.
HEADS: dict[str, Callable[..., SlotHead]] = {
    'SlotAttention': partial(SlotAttention, qkv_bias=True),
    'SMM': SlotMixture,
    'PSA, GRU and MLP': partial(ProbabilisticSlotAttention, update='gru_mlp'),
    'PSA, EM': ProbabilisticSlotAttention,
    'PSA, EM on tokens': partial(ProbabilisticSlotAttention, projections='none'),
}


def run(setting: Setting) -> list[dict[str, Any]]:
    """Compare all heads with the peer, then the gradient modes of each."""
    batch, num_tokens, num_slots, width, num_iters = TINY if setting.tiny else SIZE
    tokens = torch.randn(batch, num_tokens, width, device=setting.device, requires_grad=True)
    side = round(num_tokens**0.5)
    features = Features(tokens, (side, side))

    def build(head: str, gradient: str) -> SlotHead:
        mlp = {} if head.startswith('PSA, EM') else {'mlp_channels': width}
        initializer = {'type': 'GaussianSlots', 'num_slots': num_slots}
        made = HEADS[head](initializer, width, num_iters=num_iters, gradient=gradient, **mlp)
        return made.to(setting.device)

    peer = require_module('slot_attention', 'tests', 'The benchmark slot_heads').SlotAttention(
        num_slots=num_slots, dim=width, iters=num_iters, hidden_dim=width
    )
    peer.to(setting.device)
    calls = {PEER: partial(step, peer, tokens, tokens)}
    for head in HEADS:
        calls[head] = partial(step, build(head, 'unrolled'), features, tokens)
        if head == 'SlotAttention':
            calls[f'{PEER}, {ALONE}'] = products_of(calls[PEER])
            calls[f'{head}, {ALONE}'] = products_of(calls[head])
    rows = [{'part': 'against PyPI'} | row for row in compare(calls, setting, PEER)]
    for row in rows:
        if row['form'].endswith(ALONE):  # They keep all inputs and no result.
            del row['less_memory'], row['peak_bytes']
    for head in HEADS:
        heads = {gradient: build(head, gradient) for gradient in GRADIENTS}
        calls = {name: partial(step, made, features, tokens) for name, made in heads.items()}
        saved = {name: saved_by(made, features) for name, made in heads.items()}
        base = saved['unrolled']
        for row in compare(calls, setting, 'unrolled'):
            mine = saved[row['form']]
            rows.append(
                {'part': head, **row}
                | {
                    'times_less_saved_by_iterations': base.by_iterations / mine.by_iterations,
                    'times_less_saved': base.whole / mine.whole,
                    'saved_by_iterations_bytes': mine.by_iterations,
                    'saved_bytes': mine.whole,
                }
            )
    return rows


def step(head: nn.Module, features: Features | Tensor, tokens: Tensor) -> None:
    """Forward, and backward to tokens and parameters."""
    output = head(features)
    slots = output if isinstance(output, Tensor) else output.slots
    wanted = [tokens, *(p for p in head.parameters() if p.requires_grad)]
    torch.autograd.grad(slots.sum(), wanted, allow_unused=True)
