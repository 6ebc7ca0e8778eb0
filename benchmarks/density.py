"""Time and peak memory of matrix-product densities against the direct (B, K, N, D) form.

python benchmarks/density.py [--repeats 9] [--out density.json]
"""

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from peak_memory import track
from torch import Tensor

from mmocl.models.layers import diagonal_log_density, weighted_variance

SIZES = [(8, 7, 196, 256), (8, 7, 1024, 64), (4, 11, 4096, 64)]


def direct_density(points: Tensor, mean: Tensor, log_var: Tensor, wide: bool = False) -> Tensor:
    """The formula as it is printed."""
    distance = (points[:, None] - mean[:, :, None]).square() / log_var.exp()[:, :, None]
    return -0.5 * (distance + log_var[:, :, None] + math.log(2 * math.pi)).sum(-1)


def direct_variance(points: Tensor, weights: Tensor, center: Tensor) -> Tensor:
    """The formula as it is printed."""
    return (weights[..., None] * (points[:, None] - center[:, :, None]).square()).sum(2)


def em_step(density: Callable, variance: Callable, inputs: list[Tensor]) -> Tensor:
    """Do an E-step and an M-step; return what depends on both."""
    points, mean, log_var = inputs
    log_attn = density(points, mean, log_var, wide=True).log_softmax(1).to(points.dtype)
    weights = log_attn.softmax(2)
    mean = weights @ points
    return mean + (variance(points, weights, mean) + 1e-3).log()


CASES: dict[str, dict[str, Callable]] = {
    'density': {
        'ours': lambda x: diagonal_log_density(*x),
        'direct': lambda x: direct_density(*x),
    },
    'EM step': {
        'ours': lambda x: em_step(diagonal_log_density, weighted_variance, x),
        'direct': lambda x: em_step(direct_density, direct_variance, x),
    },
}


def run(function: Callable, inputs: list[Tensor], backward: bool) -> None:
    """Forward alone, or forward and backward."""
    with torch.set_grad_enabled(backward):
        output = function(inputs)
    if backward:
        torch.autograd.grad(output.sum(), inputs)


def seconds(function: Callable[[], None], device: str) -> float:
    """Time one call."""
    if device == 'cpu':
        start = time.perf_counter()
        function()
        return time.perf_counter() - start
    start_event, end_event = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start_event.record()
    function()
    end_event.record()
    torch.cuda.synchronize()
    return start_event.elapsed_time(end_event) / 1000


def peak_bytes(function: Callable[[], None], device: str) -> int:
    """Peak of the memory that one call takes on top of its inputs."""
    if device == 'cpu':
        return track(function).peak
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    function()
    return torch.cuda.max_memory_allocated() - before


def main() -> None:
    """Measure all cases, print a table, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--repeats', type=int, default=9)
    parser.add_argument('--out', type=Path)
    args = parser.parse_args()
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    rows = []
    print(
        '| (B, K, N, D) | what | pass | ours ms | direct ms | ratio | ours MB | direct MB | ratio |'
    )
    print('|---|---|---|---|---|---|---|---|---|')
    for size in SIZES:
        b, k, n, d = size
        inputs = [torch.randn(b, m, d, device=device, requires_grad=True) for m in (n, k, k)]
        for (what, forms), backward in ((c, p) for c in CASES.items() for p in (False, True)):
            times: dict[str, list[float]] = {name: [] for name in forms}
            calls = {
                name: lambda form=form, backward=backward: run(form, inputs, backward)  # noqa: B023
                for name, form in forms.items()
            }
            for repeat in range(args.repeats + 1):
                for name, call in calls.items():
                    value = seconds(call, device)
                    if repeat:  # The first one warms up.
                        times[name].append(value)
            ms = {name: 1000 * statistics.median(values) for name, values in times.items()}
            mb = {name: peak_bytes(call, device) / 2**20 for name, call in calls.items()}
            passes = 'forward + backward' if backward else 'forward'
            rows.append({'size': size, 'what': what, 'pass': passes, 'ms': ms, 'mb': mb})
            print(
                f'| {"x".join(map(str, size))} | {what} | {passes} '
                f'| {ms["ours"]:.2f} | {ms["direct"]:.2f} | {ms["direct"] / ms["ours"]:.1f} '
                f'| {mb["ours"]:.1f} | {mb["direct"]:.1f} | {mb["direct"] / mb["ours"]:.1f} |',
                flush=True,
            )
    if args.out:
        setup = {'torch': torch.__version__, 'device': device, 'threads': torch.get_num_threads()}
        args.out.write_text(json.dumps({**setup, 'repeats': args.repeats, 'rows': rows}, indent=2))


if __name__ == '__main__':
    main()
