"""Pictures of kept results: ratios as bars, densities against tokens, growth."""

import hashlib
import io
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.report.aims import Results

# Texts stay texts, and ids do not change from run to run.
STYLE = {
    'svg.hashsalt': 'mmocl',
    'svg.fonttype': 'none',
    'font.size': 9,
    'axes.spines.top': False,
    'axes.spines.right': False,
}


@dataclass(frozen=True)
class Plot:
    """A picture and what it shows; ``digest`` is that of the data."""

    device: str
    benchmark: str
    title: str
    digest: str
    svg: str


def build_plots(results: Results) -> dict[str, Plot]:
    """Draw all pictures, by file name."""
    plots = {}
    for device, records in results.items():
        for name, record in records.items():
            if name not in PLOTTERS:
                continue
            title, draw = PLOTTERS[name]
            with mpl.rc_context(STYLE):
                figure = draw(record['rows'])
                if figure is not None:
                    file = f'{device}-{name.replace("_", "-")}.svg'
                    data = json.dumps([title, record['rows']], sort_keys=True)
                    digest = hashlib.sha256(data.encode()).hexdigest()[:16]
                    plots[file] = Plot(device, name, title, digest, _as_svg(figure, digest))
    return plots


def is_plot_of(text: str, plot: Plot) -> bool:
    """Say whether a file shows the data of a picture, whichever matplotlib drew it."""
    return f'data {plot.digest}' in text


def draw_bars(rows: Iterable[Mapping[str, Any]]) -> Figure | None:
    """Draw how many times faster every form is than its reference, with the range."""
    # A reference is as fast as itself in every turn.
    reference = {'median': 1, 'min': 1, 'max': 1}
    rows = [row for row in rows if row.get('faster') not in (None, reference)]
    if not rows:
        return None
    figure = Figure(figsize=(8, 0.8 + 0.22 * len(rows)), layout='constrained')
    axes = figure.subplots()
    medians = [row['faster']['median'] for row in rows]
    errors = [
        [m - row['faster']['min'] for m, row in zip(medians, rows, strict=True)],
        [row['faster']['max'] - m for m, row in zip(medians, rows, strict=True)],
    ]
    places = range(len(rows))
    axes.barh(places, medians, xerr=errors, height=0.7, color='C0', ecolor='0.3', capsize=2)
    axes.axvline(1, color='0.3', linewidth=1, linestyle='--')
    axes.set_yticks(places, [_label(row) for row in rows])
    axes.invert_yaxis()
    axes.margins(y=0.01)
    axes.set_xlabel('times faster than the reference (1)')
    return figure


def draw_densities(rows: Iterable[Mapping[str, Any]]) -> Figure | None:
    """Draw time and memory against N, of one image with 7 Gaussians of 64 dimensions."""
    curves: dict[tuple[str, str], list[tuple[int, float, float]]] = {}
    for row in rows:
        b, k, n, d = map(int, row['B x K x N x D'].split(' x '))
        if row['what'] == 'density' and (b, k, d) == (1, 7, 64):
            point = (n, 1000 * row['seconds']['median'], row['peak_bytes'] / 2**20)
            curves.setdefault((row['form'], row['pass']), []).append(point)
    if not curves:
        return None
    figure = Figure(figsize=(9.5, 3.2), layout='constrained')
    for axes, place, label in zip(figure.subplots(1, 2), (1, 2), ('ms', 'MB'), strict=True):
        for (form, passes), points in curves.items():
            points = sorted(points)
            style = {'ours': '-', 'direct': '--'}.get(form, ':')
            color = 'C0' if passes == 'forward' else 'C1'
            x, y = [p[0] for p in points], [p[place] for p in points]
            axes.plot(x, y, style, color=color, marker='o', markersize=3, label=f'{form}, {passes}')
        _log(axes, 'tokens N', label)
    figure.legend(*axes.get_legend_handles_labels(), loc='outside right', fontsize=8)
    return figure


def draw_scaling(rows: Iterable[Mapping[str, Any]]) -> Figure | None:
    """Draw time against each size, a line a part of the model."""
    rows = list(rows)
    sizes = list(dict.fromkeys(row['against'] for row in rows))
    names = list(dict.fromkeys(row['what'] for row in rows))
    if not rows:
        return None
    columns = 3
    lines = -(-(len(sizes) + 1) // columns)
    figure = Figure(figsize=(9, 2.8 * lines), layout='constrained')
    panels = figure.subplots(lines, columns, squeeze=False).flatten()
    for axes, size in zip(panels, sizes, strict=False):
        for row in rows:
            if row['against'] == size:
                x = [point['size'] for point in row['points']]
                y = [1000 * point['seconds']['median'] for point in row['points']]
                axes.plot(x, y, marker='o', markersize=3, color=f'C{names.index(row["what"])}')
        _log(axes, size, 'ms')
    for axes in panels[len(sizes) :]:
        axes.axis('off')
    for index, name in enumerate(names):
        panels[-1].plot([], [], marker='o', markersize=3, color=f'C{index}', label=name)
    panels[-1].legend(loc='center', frameon=False)
    return figure


PLOTTERS: dict[str, tuple[str, Callable[[Iterable[Mapping[str, Any]]], Figure | None]]] = {
    'decoders': ('Decoders: times faster than the direct form', draw_bars),
    'densities': ('Density: time and memory against tokens', draw_densities),
    'loader': ('Loaders: times faster than the reference', draw_bars),
    'scaling': ('Time against sizes', draw_scaling),
    'slot_heads': ('Slot heads: times faster than PyPI, and than unrolled', draw_bars),
    'train_step': ('Training steps: times faster than on the fly', draw_bars),
}


def _label(row: Mapping[str, Any]) -> str:
    return ', '.join(value for value in row.values() if isinstance(value, str))


def _log(axes: Axes, x: str, y: str) -> None:
    axes.set_xscale('log', base=2)
    axes.xaxis.set_major_formatter('{x:g}')
    axes.set_yscale('log')
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(alpha=0.3)


def _as_svg(figure: Figure, digest: str) -> str:
    stream = io.StringIO()
    metadata = {'Date': None, 'Creator': None, 'Description': f'data {digest}'}
    figure.savefig(stream, format='svg', metadata=metadata)
    # Trailing blanks would be lost in an editor.
    return '\n'.join(line.rstrip() for line in stream.getvalue().splitlines()) + '\n'
