"""Signs of collapse among predictions, in numbers and in words."""

import math
from collections.abc import Mapping, Sequence

from mmocl.evaluation.collapse_signs import SIGNS, find_signs
from mmocl.evaluation.metrics import CollapseMetric
from mmocl.structures import MASK_SOURCES, SlotDataSample
from mmocl.visualization.report.content import Collapse, CollapseRow

_SOURCES = ('decoder', 'attention')


def collapse_values(samples: Sequence[SlotDataSample]) -> dict[str, float]:
    """Results of ``CollapseMetric`` over predictions of two images or more."""
    sources = [name for name in _SOURCES if MASK_SOURCES[name][0] in samples[0]]
    metric = CollapseMetric(sources)
    metric.process(None, [sample.to_dict() for sample in samples])
    return metric.compute_metrics(metric.results)


def recorded_values(results: Mapping[str, float | None]) -> dict[str, float]:
    """Results of ``CollapseMetric`` among those of a test, without their prefix; empty if none."""
    prefix = f'{CollapseMetric.default_prefix}/'
    return {
        key.removeprefix(prefix): math.nan if value is None else value
        for key, value in results.items()
        if key.startswith(prefix)
    }


def diagnosis(values: Mapping[str, float], where: str) -> Collapse:
    """Compare values with the limits of ``mmocl.evaluation.collapse_signs``.

    Args:
        values: Results of ``CollapseMetric``, without its prefix.
        where: Which images they are of.
    """
    sources = [
        s for s in _SOURCES if any(f'{MASK_SOURCES[s][1]}{name}' in values for name in SIGNS)
    ]
    rows, found = [], []
    for name, sign in SIGNS.items():
        of_slots = name == 'slot_cosine'
        by_source = {}
        for source in ('slots',) if of_slots else sources:
            key = name if of_slots else f'{MASK_SOURCES[source][1]}{name}'
            value = values.get(key, math.nan)
            by_source[source] = value if math.isfinite(value) else None
        rows.append(CollapseRow(name, sign.meaning, sign.remedy, sign.above, by_source))
    for source in sources:
        for text in find_signs(values, prefix=MASK_SOURCES[source][1]).values():
            if text not in found:
                found.append(text)
    return Collapse(where, rows, found)
