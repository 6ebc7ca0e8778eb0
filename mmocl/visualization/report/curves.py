"""Curves of a training log, over all starts of the run."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmocl.visualization.report.content import Chart, Curve

# More points are more than a screen has pixels.
_MAX_POINTS = 800
# What is drawn at first of a chart with many curves.
_HEADLINES = ('fg_ari', 'ari', 'mbo_i', 'miou')
_SIGNS = ('largest', 'mask_entropy', 'overlap_iou', 'position', 'dead_always')
_COUNTERS = ('iter', 'step', 'epoch')
_TIMES = ('time', 'data_time')

Line = dict[str, Any]


def read_scalars(path: Path) -> list[Line]:
    """Read a ``scalars.json`` of MMEngine, one JSON object a line.

    A last line without an end was being written when the run was killed; it is left out.

    Raises:
        ValueError: If another line is broken; file and line are named.
    """
    lines = path.read_text().splitlines(keepends=True)
    content = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
        except ValueError as error:
            if number == len(lines) and not line.endswith('\n'):
                break
            raise ValueError(
                f'{path}, line {number}: expected one JSON object of logged values, got '
                f'{line.strip()[:60]!r} ({error})'
            ) from error
        if not isinstance(values, dict) or not isinstance(values.get('step'), int):
            raise ValueError(
                f"{path}, line {number}: expected logged values and an integer 'step', got "
                f'{line.strip()[:60]!r}'
            )
        content.append(values)
    return content


def merge(starts: Sequence[Sequence[Line]]) -> dict[str, Curve]:
    """Join the logs of a run that was resumed.

    Where two starts logged the same iterations, the later one counts: of the earlier one all is
    left out from where the later one begins.

    Args:
        starts: Lines of every start, in order of time.

    Returns:
        Curves by name, in order of appearance; values that are not finite are None.
    """
    kept: list[Line] = []
    for lines in starts:
        first = min((line['step'] for line in lines if 'iter' in line), default=None)
        if first is None:
            first = min((line['step'] for line in lines), default=math.inf)
        kept = [line for line in kept if line['step'] < first] + list(lines)
    points: dict[str, dict[int, float | None]] = {}
    for line in kept:
        # A validation has times of its own.
        skipped = _COUNTERS if 'iter' in line else (*_COUNTERS, *_TIMES)
        for name, value in line.items():
            if name not in skipped and isinstance(value, int | float):
                finite = float(value) if math.isfinite(value) else None
                points.setdefault(name, {})[line['step']] = finite
    return {
        name: Curve(name, sorted(values), [values[step] for step in sorted(values)])
        for name, values in points.items()
    }


def charts(curves: Mapping[str, Curve]) -> list[Chart]:
    """Sort curves into charts: losses, validation scores, signs of collapse, and the rest."""
    losses = [curve for name, curve in curves.items() if re.search(r'(^|[/.])loss', name)]
    total = curves.get('loss')
    if total and any(c.name != 'loss' and c.values == total.values for c in losses):
        losses.remove(total)  # it would lie on its only part
    found = [_chart('Losses', losses, [])]
    others = [c for c in curves.values() if '/' in c.name and c not in losses]
    for prefix in dict.fromkeys(curve.name.split('/')[0] for curve in others):
        scores = [c for c in others if c.name.startswith(f'{prefix}/')]
        scores = [c for c in scores if not c.name.split('/')[1].startswith('num_images')]
        for source, flag in (('decoder masks', False), ('attention masks', True)):
            part = [c for c in scores if c.name.split('/')[1].startswith('attn_') == flag]
            names = [f'{prefix}/{"attn_" if flag else ""}{name}' for name in _HEADLINES]
            title = f'Validation, {prefix}'
            kinds = {c.name.split('/')[1].startswith('attn_') for c in scores}
            found.append(_chart(f'{title}, {source}' if len(kinds) > 1 else title, part, names))
    collapse = [curve for name, curve in curves.items() if name.startswith('collapse_')]
    counts = [c for c in collapse if c.name.endswith('effective_slots')]
    shares = [c for c in collapse if c not in counts]
    found.append(_chart('Signs of collapse', shares, [f'collapse_{name}' for name in _SIGNS]))
    found.append(_chart('Effective number of slots', counts, []))
    rates = [curve for name, curve in curves.items() if name.split('/')[-1] in ('lr', 'base_lr')]
    rates = rates[:1] if len({str(curve.values) for curve in rates}) == 1 else rates
    found.append(_chart('Learning rate', rates, []))
    for title, name in (
        ('Norm of the gradient', 'grad_norm'),
        ('Seconds an iteration', 'time'),
        ('Memory, MB', 'memory'),
    ):
        found.append(_chart(title, [curves[name]] if name in curves else [], []))
    drawn = {curve.name for chart in found for curve in chart.curves}
    drawn |= {'loss', 'lr', 'base_lr', 'data_time'}
    rest = [c for n, c in curves.items() if n not in drawn and '/' not in n]
    found.append(_chart('Other values', rest, []))
    return [chart for chart in found if chart.curves]


def _chart(title: str, curves: Sequence[Curve], wanted: Sequence[str]) -> Chart:
    shown = [curve.name for curve in curves if curve.name in wanted]
    return Chart(title, [thinned(c) for c in curves], shown or [c.name for c in curves][:5])


def thinned(curve: Curve, num_points: int = _MAX_POINTS) -> Curve:
    """Keep the smallest and the largest value of every stretch of a long curve."""
    if len(curve.steps) <= num_points:
        return curve
    length = math.ceil(2 * len(curve.steps) / num_points)
    kept: list[int] = []
    for start in range(0, len(curve.steps), length):
        stretch = range(start, min(start + length, len(curve.steps)))
        known = [(value, i) for i in stretch if (value := curve.values[i]) is not None]
        kept += sorted({min(known)[1], max(known)[1]}) if known else [start]
    return Curve(curve.name, [curve.steps[i] for i in kept], [curve.values[i] for i in kept])
