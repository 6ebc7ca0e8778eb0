"""Time and peak memory of the MLP decoder's short cuts against its direct form.

python benchmarks/mlp_decoder.py [--batch-size 2] [--repeats 5] [--out mlp_decoder.json]
"""

import argparse
import json
import statistics
from collections.abc import Callable
from pathlib import Path

import torch
from density import peak_bytes, seconds
from torch import Tensor
from torch.nn import functional

from mmocl.models.decoders import MLPDecoder

# DINOSAUR (ViT-B/16 and ViT-B/14 at 224x224): slots, slot width, hidden layers, channels.
NUM_SLOTS, SLOT_DIM, HIDDEN, NUM_HIDDEN, CHANNELS = 7, 256, 2048, 3, 768
GRIDS = [(14, 14), (16, 16)]


def short_cuts(decoder: MLPDecoder, slots: Tensor) -> Tensor:
    """The first layer is split, and hidden units are mixed before the last one."""
    return decoder(slots).recon


def direct(decoder: MLPDecoder, slots: Tensor) -> Tensor:
    """Every slot at every patch through all layers; K outputs a patch are mixed."""
    hidden = slots[:, :, None] + decoder.position
    for layer in decoder.hidden:
        hidden = functional.relu_(layer(hidden))
    features, alpha = decoder.project(hidden).split([CHANNELS, 1], dim=-1)
    return (features * alpha.softmax(dim=1)).sum(dim=1)


FORMS: dict[str, Callable[[MLPDecoder, Tensor], Tensor]] = {'ours': short_cuts, 'direct': direct}


def run(form: Callable, decoder: MLPDecoder, slots: Tensor, backward: bool) -> None:
    """Forward alone, or forward and backward to slots and weights."""
    with torch.set_grad_enabled(backward):
        output = form(decoder, slots)
    if backward:
        torch.autograd.grad(output.sum(), [slots, *decoder.parameters()])


def main() -> None:
    """Measure all cases, print a table, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--batch-size', type=int, default=2)
    parser.add_argument('--repeats', type=int, default=5)
    parser.add_argument('--out', type=Path)
    args = parser.parse_args()
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    rows = []
    print(
        '| (B, K, N) | pass | ours ms | direct ms | ratio (range) | ours MB | direct MB | ratio |'
    )
    print('|---|---|---|---|---|---|---|---|')
    for grid in GRIDS:
        size = (args.batch_size, NUM_SLOTS, grid[0] * grid[1])
        decoder = MLPDecoder(SLOT_DIM, CHANNELS, grid, HIDDEN, NUM_HIDDEN).to(device)
        slots = torch.randn(*size[:2], SLOT_DIM, device=device, requires_grad=True)
        for backward in (False, True):
            times: dict[str, list[float]] = {name: [] for name in FORMS}
            calls = {
                name: lambda form=form, backward=backward: run(form, decoder, slots, backward)  # noqa: B023
                for name, form in FORMS.items()
            }
            for repeat in range(args.repeats + 1):
                for name, call in calls.items():
                    value = seconds(call, device)
                    if repeat:  # The first one warms up.
                        times[name].append(value)
            ms = {name: 1000 * statistics.median(values) for name, values in times.items()}
            mb = {name: peak_bytes(call, device) / 2**20 for name, call in calls.items()}
            ratios = [b / a for a, b in zip(times['ours'], times['direct'], strict=True)]
            passes = 'forward + backward' if backward else 'forward'
            rows.append({'size': size, 'pass': passes, 'ms': ms, 'ratios': ratios, 'mb': mb})
            print(
                f'| {"x".join(map(str, size))} | {passes} | {ms["ours"]:.0f} | {ms["direct"]:.0f} '
                f'| {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) '
                f'| {mb["ours"]:.0f} | {mb["direct"]:.0f} | {mb["direct"] / mb["ours"]:.2f} |',
                flush=True,
            )
    if args.out:
        setup = {'torch': torch.__version__, 'device': device, 'threads': torch.get_num_threads()}
        args.out.write_text(json.dumps({**setup, 'repeats': args.repeats, 'rows': rows}, indent=2))


if __name__ == '__main__':
    main()
