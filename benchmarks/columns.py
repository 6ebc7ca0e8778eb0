"""Rows of a benchmark as headings and cells, for the terminal and for Markdown."""

from collections.abc import Sequence
from typing import Any

# Label and what one unit is of the columns that `compare` gives; others are named like their keys.
COLUMNS: dict[str, tuple[str, float]] = {
    'faster': ('times faster', 1),
    'less_memory': ('times less memory', 1),
    'fewer_flop': ('times fewer FLOP', 1),
    'seconds': ('ms', 1e-3),
    'images_per_second': ('images/s', 1),
    'peak_bytes': ('MB', 2**20),
    'flop': ('GFLOP', 1e9),
    'flop_an_image': ('GFLOP an image', 1e9),
    'share_of_matmul_peak': ('% of matmul peak', 0.01),
}
RATIOS = ('faster', 'less_memory', 'fewer_flop', 'share_of_matmul_peak')
UNITS: dict[str, tuple[str, float]] = {
    '_seconds': (' ms', 1e-3),
    '_bytes': (' MB', 2**20),
    '_flop': (' GFLOP', 1e9),
    '_flop_per_second': (' GFLOP/s', 1e9),
}


def headings(rows: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Labels of all columns by key, in the order in which rows name them; curves are left out."""
    keys = dict.fromkeys(
        key for row in rows for key, value in row.items() if not isinstance(value, list)
    )
    return {key: _column(key)[0] for key in keys}


def cells(row: dict[str, Any], keys: Sequence[str], brief: bool = False) -> list[str]:
    """What a row shows in these columns: ``null`` is not measured, empty does not apply.

    Args:
        row: Values by column.
        keys: The columns.
        brief: Show the range of ratios only, of the others the median.
    """
    return [
        cell(row[key], _column(key)[1], brief and key not in RATIOS) if key in row else ''
        for key in keys
    ]


def cell(value: Any, unit: float = 1, brief: bool = False) -> str:
    """One value; a spread as its median, with the range unless it is to be brief."""
    if value is None:
        return 'null'
    if isinstance(value, bool):
        return 'yes' if value else 'no'
    if isinstance(value, dict):
        median, low, high = (number(value[key] / unit) for key in ('median', 'min', 'max'))
        return median if brief or low == median == high else f'{median} ({low} to {high})'
    if isinstance(value, int | float):
        return number(value / unit)
    return str(value)


def number(value: float) -> str:
    """Three significant digits, whole numbers in full."""
    if (value == int(value) and abs(value) < 1e9) or abs(value) >= 100:
        return f'{value:,.0f}'
    if abs(value) < 1e-3:
        return f'{value:.0e}'
    return f'{value:#.3g}'


def _column(key: str) -> tuple[str, float]:
    if key in COLUMNS:
        return COLUMNS[key]
    for suffix, (label, unit) in UNITS.items():
        if key.endswith(suffix):
            return key.removesuffix(suffix).replace('_', ' ') + label, unit
    return key.replace('_', ' '), 1
