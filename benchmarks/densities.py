"""Density of diagonal Gaussians: matrix products against the direct (B, K, N, D) form.

"Ours" sums in float64 by matrix products; "direct" is the formula as it is printed, in float32;
"direct, lean" is the same sum with less to do: constants outside, a product in place of a division,
and without a graph in place. An EM step is an E-step and an M-step with a weighted variance.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.measure import Setting, compare
from mmocl.models.layers import diagonal_log_density, weighted_variance

# (B, K, N, D): the aims; DINOSAUR; growing N; growing K.
SIZES = [
    (8, 7, 1024, 64),
    (1, 7, 16384, 64),
    (8, 7, 196, 256),
    (1, 7, 256, 64),
    (1, 7, 1024, 64),
    (1, 7, 4096, 64),
    (1, 3, 4096, 64),
    (1, 14, 4096, 64),
    (1, 28, 4096, 64),
]
TINY = [(2, 3, 16, 8)]
OURS, DIRECT, LEAN = 'ours', 'direct', 'direct, lean'


def run(setting: Setting) -> list[dict[str, Any]]:
    """Compare both forms at all sizes, forward alone and with the backward pass."""
    rows = []
    for size in TINY if setting.tiny else SIZES:
        b, k, n, d = size
        inputs = [
            torch.randn(b, m, d, device=setting.device, requires_grad=True) for m in (n, k, k)
        ]
        for what, forms in CASES.items():
            for backward in (False, True):
                case = {
                    'B x K x N x D': ' x '.join(map(str, size)),
                    'what': what,
                    'pass': 'forward + backward' if backward else 'forward',
                }
                calls = {
                    name: partial(_call, form, inputs, backward) for name, form in forms.items()
                }
                measured = compare(calls, setting, DIRECT, flop=False)
                ours, lean = (next(r for r in measured if r['form'] == n) for n in (OURS, LEAN))
                ours['faster_than_lean'] = lean['seconds']['median'] / ours['seconds']['median']
                ours['less_memory_than_lean'] = lean['peak_bytes'] / ours['peak_bytes']
                rows += [case | row for row in measured]
    return rows


def direct_density(points: Tensor, mean: Tensor, log_var: Tensor, wide: bool = False) -> Tensor:
    """The formula as it is printed."""
    distance = (points[:, None] - mean[:, :, None]).square() / log_var.exp()[:, :, None]
    return -0.5 * (distance + log_var[:, :, None] + math.log(2 * math.pi)).sum(-1)


def direct_variance(points: Tensor, weights: Tensor, center: Tensor) -> Tensor:
    """The formula as it is printed."""
    return (weights[..., None] * (points[:, None] - center[:, :, None]).square()).sum(2)


def lean_density(points: Tensor, mean: Tensor, log_var: Tensor, wide: bool = False) -> Tensor:
    """The same sum as one would write it with some care."""
    difference = points[:, None] - mean[:, :, None]
    squares = difference.square() if torch.is_grad_enabled() else difference.square_()
    distance = (squares @ (-log_var).exp()[..., None]).squeeze(-1)
    return -0.5 * (distance + (log_var + math.log(2 * math.pi)).sum(-1, keepdim=True))


def lean_variance(points: Tensor, weights: Tensor, center: Tensor) -> Tensor:
    """The same sum as one product."""
    difference = points[:, None] - center[:, :, None]
    squares = difference.square() if torch.is_grad_enabled() else difference.square_()
    return (weights[:, :, None] @ squares).squeeze(2)


def em_step(density: Callable, variance: Callable, inputs: list[Tensor]) -> Tensor:
    """Do an E-step and an M-step; return what depends on both."""
    points, mean, log_var = inputs
    log_attn = density(points, mean, log_var, wide=True).log_softmax(1).to(points.dtype)
    weights = log_attn.softmax(2)
    mean = weights @ points
    return mean + (variance(points, weights, mean) + 1e-3).log()


CASES: dict[str, dict[str, Callable[[list[Tensor]], Tensor]]] = {
    'density': {
        OURS: lambda inputs: diagonal_log_density(*inputs),
        DIRECT: lambda inputs: direct_density(*inputs),
        LEAN: lambda inputs: lean_density(*inputs),
    },
    'EM step': {
        OURS: partial(em_step, diagonal_log_density, weighted_variance),
        DIRECT: partial(em_step, direct_density, direct_variance),
        LEAN: partial(em_step, lean_density, lean_variance),
    },
}


def _call(form: Callable, inputs: list[Tensor], backward: bool) -> None:
    with torch.set_grad_enabled(backward):
        output = form(inputs)
    if backward:
        torch.autograd.grad(output.sum(), inputs)
