"""Write docs/performance.md and its pictures from the kept results.

``python -m benchmarks report`` reads ``benchmarks/results/<device>/<name>.json``; with ``--check``
it writes nothing and exits with 1 if a file would change.
"""

import argparse
import sys
from collections.abc import Sequence

from benchmarks.record import KEPT, ROOT, read_kept
from benchmarks.report.page import build_page
from benchmarks.report.plots import build_plots, is_plot_of


def main(argv: Sequence[str] | None = None) -> None:
    """Write or check page and pictures."""
    parser = argparse.ArgumentParser(prog='python -m benchmarks report', description=__doc__)
    parser.add_argument('--check', action='store_true', help='write nothing; exit 1 on a change')
    args = parser.parse_args(argv)
    results = read_kept(KEPT)
    plots = build_plots(results)
    folder = ROOT / 'docs' / 'performance'
    page = ROOT / 'docs' / 'performance.md'
    text = build_page(results, plots)
    stale = [path for path in sorted(folder.glob('*.svg')) if path.name not in plots]
    changed = [] if page.is_file() and page.read_text() == text else [page]
    for name, plot in plots.items():
        path = folder / name
        # Another release of matplotlib draws other bytes from the same data.
        if not (path.is_file() and is_plot_of(path.read_text(), plot)):
            changed.append(path)
    for path in [*changed, *stale]:
        print(f'{path.relative_to(ROOT)} {"differs" if args.check else "is written or removed"}')
    if args.check:
        sys.exit(1 if changed or stale else 0)
    for path in stale:
        path.unlink()
    for path in changed:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text if path == page else plots[path.name].svg)
