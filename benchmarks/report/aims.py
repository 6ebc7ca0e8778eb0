"""The aims, and which measured value each is held against."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmarks.columns import cell
from benchmarks.measure import spread

Results = Mapping[str, Mapping[str, Mapping[str, Any]]]


@dataclass(frozen=True)
class Aim:
    """A value of a benchmark and its bound.

    Args:
        work: What is measured, in words.
        benchmark: Name of the benchmark.
        where: Values of columns; of several a row has one. Of several rows the worst counts.
        column: The measured value.
        at_least: Lower bound.
        at_most: Upper bound, of the inverse of the value: what a ratio is below one.
        unit: What one unit is in the table.
        device: ``'cpu'`` or ``'cuda'``, where the aim is to be met.
    """

    work: str
    benchmark: str
    where: Mapping[str, str | tuple[str, ...]]
    column: str
    at_least: float | None = None
    at_most: float | None = None
    unit: tuple[str, float] = field(default=('x', 1))
    device: str = 'cpu'


BOTH = ('forward', 'forward + backward')
PAPER = {'model': ('DINOSAUR', 'PSA'), 'backbone': ('ViT-B/16', 'ViT-S/14'), 'decoder': '3 x 2048'}
OURS = {'part': 'against PyPI', 'form': 'SlotAttention'}
FREE = {
    'part': ('SlotAttention', 'SMM', 'PSA, EM', 'PSA, EM on tokens', 'PSA, GRU and MLP'),
    'form': ('implicit', 'bilevel'),
}
MLP = {'decoder': 'MLP, 196 patches, 3 x 2048', 'form': 'ours', 'pass': 'forward + backward'}
SMALL = {'model': 'DINOSAUR', 'backbone': 'ViT-S/14', 'decoder': '3 x 512', 'form': 'cached'}
GPU = {**PAPER, 'type': 'bf16', 'form': 'cached, compiled'}


def density(shape: str) -> dict[str, str | tuple[str, ...]]:
    """Rows of the density at a size, both passes."""
    return {'B x K x N x D': shape, 'what': 'density', 'form': 'ours', 'pass': BOTH}


AIMS = [
    Aim('`SlotAttention` against PyPI: time', 'slot_heads', OURS, 'faster', 1.6),
    Aim('`SlotAttention` against PyPI: memory', 'slot_heads', OURS, 'less_memory', 1.0),
    Aim('`SlotAttention` against PyPI: counted FLOP', 'slot_heads', OURS, 'fewer_flop'),
    *(
        Aim(
            f'density, {shape} (B x K x N x D), worse pass: {what}',
            'densities',
            density(shape),
            *rest,
        )
        for shape in ('8 x 7 x 1024 x 64', '1 x 7 x 16384 x 64')
        for what, *rest in (
            ('time', 'faster', 5),
            ('memory', 'less_memory', 10),
            ('time against a lean direct form', 'faster_than_lean'),
            ('memory against a lean direct form', 'less_memory_than_lean'),
        )
    ),
    Aim(
        'implicit or bilevel against unrolled, T = 3, worst head: saved by the iterations',
        'slot_heads',
        FREE,
        'times_less_saved_by_iterations',
        at_most=0.45,
    ),
    Aim(
        'implicit or bilevel against unrolled, T = 3, worst head: saved by the whole head',
        'slot_heads',
        FREE,
        'times_less_saved',
    ),
    Aim(
        'implicit or bilevel against unrolled, T = 3, worst head: time',
        'slot_heads',
        FREE,
        'faster',
        at_most=0.75,
    ),
    Aim('MLP decoder, paper shape: time', 'decoders', MLP, 'faster', 1.12),
    Aim('MLP decoder, paper shape: counted FLOP', 'decoders', MLP, 'fewer_flop', 1.2),
    *(
        Aim(
            f'cached against on the fly, ViT-S/14, 3 x 512, {dtype}: images/s',
            'train_step',
            {**SMALL, 'type': dtype},
            'faster',
            2.0,
        )
        for dtype in ('fp32', 'bf16')
    ),
    Aim(
        'cached against on the fly, paper shape, worse backbone, fp32: images/s',
        'train_step',
        {**PAPER, 'type': 'fp32', 'form': 'cached'},
        'faster',
    ),
    Aim(
        "MMEngine's loop against a bare loop: time of an iteration",
        'runner_overhead',
        {'form': 'MMEngine loop'},
        'faster',
        at_most=1.05,
    ),
    Aim(
        'training step, paper shape, bf16, compiled, cached: share of the matmul peak',
        'train_step',
        GPU,
        'share_of_matmul_peak',
        0.4,
        unit=('%', 0.01),
        device='cuda',
    ),
    Aim(
        'training step, paper shape, bf16, compiled, cached',
        'train_step',
        GPU,
        'images_per_second',
        3000,
        unit=(' images/s', 1),
        device='cuda',
    ),
    Aim(
        'training loader, COCO, against decoding of full size and masks: images/s',
        'loader',
        {'form': 'reduced scale, PyTorch (ours)', 'data': 'COCO'},
        'faster',
        1.8,
    ),
    Aim(
        'training loader, COCO, from the pre-resized cache, against the same: images/s',
        'loader',
        {'form': 'image cache (ours)', 'data': 'COCO'},
        'faster',
        5.0,
    ),
]


def aims_table(results: Results) -> str:
    """A row an aim and device in Markdown; ``null`` where nothing was measured."""
    lines = ['| work | aim | measured (range) | device | met |', '|---|---|---|---|---|']
    for aim in AIMS:
        found = {
            device: (value, records[aim.benchmark])
            for device, records in results.items()
            if aim.benchmark in records
            and (value := worst(aim, records[aim.benchmark]['rows'])) is not None
        }
        # Elsewhere the aim need not be met, but what was measured there is shown.
        if not any(record['device'] == aim.device for _, record in found.values()):
            found[{'cpu': 'CPU', 'cuda': 'GPU'}[aim.device]] = (None, None)
        for device, (value, _) in found.items():
            shown = cell(value, aim.unit[1])
            lines.append(
                f'| {aim.work} | {_bound(aim)} | {shown} | {device} | {_met(aim, value)} |'
            )
    return '\n'.join(lines) + '\n'


def worst(aim: Aim, rows: list[Mapping[str, Any]]) -> dict[str, float] | None:
    """The value that is farthest from the aim, as median and range; None if there is none."""
    fitting = [row for row in rows if all(_fits(row.get(k), v) for k, v in aim.where.items())]
    values = [row.get(aim.column) for row in fitting]
    if not values or None in values:
        return None
    spreads = [value if isinstance(value, dict) else spread([value]) for value in values]
    found = min(spreads, key=lambda value: value['median'])
    if aim.at_most is None:
        return found
    return {k: 1 / found[o] for k, o in (('median', 'median'), ('min', 'max'), ('max', 'min'))}


def _fits(value: object, wanted: str | tuple[str, ...]) -> bool:
    return value in wanted if isinstance(wanted, tuple) else value == wanted


def _bound(aim: Aim) -> str:
    label, unit = aim.unit
    if aim.at_least is not None:
        return f'>= {aim.at_least / unit:,g}{label}'
    return f'<= {aim.at_most:g}{label}' if aim.at_most is not None else 'reported'


def _met(aim: Aim, value: dict[str, float] | None) -> str:
    if value is None:
        return 'null'
    if aim.at_least is not None:
        return 'yes' if value['median'] >= aim.at_least else 'no'
    if aim.at_most is not None:
        return 'yes' if value['median'] <= aim.at_most else 'no'
    return ''
