"""The page docs/performance.md: hand-written text with generated tables in it."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.catalog import find_benchmarks
from benchmarks.columns import cells, headings
from benchmarks.report.aims import Results, aims_table
from benchmarks.report.plots import Plot

TEMPLATE = Path(__file__).with_name('template.md')
SLOT = re.compile('^<!-- (aims|results: (\\w+)) -->$', re.MULTILINE)


def build_page(results: Results, plots: Mapping[str, Plot]) -> str:
    """Fill the template.

    Args:
        results: Records by device and benchmark.
        plots: Pictures by file name, shown below the table of their benchmark and device.

    Raises:
        ValueError: If the template has no place for a benchmark that there is, or a place for one
            that there is not.
    """
    template = TEMPLATE.read_text()
    places = [name for _, name in SLOT.findall(template) if name]
    # A place may be there before its benchmark, a result may not be without a place.
    known = set(find_benchmarks()) | {name for records in results.values() for name in records}
    if missing := known - set(places):
        raise ValueError(f'{TEMPLATE.name} has no "<!-- results: NAME -->" for {sorted(missing)}.')

    def fill(match: re.Match[str]) -> str:
        return (
            aims_table(results) if match[2] is None else _section(match[2], results, plots)
        ).rstrip('\n')

    return SLOT.sub(fill, template)


def _section(name: str, results: Results, plots: Mapping[str, Plot]) -> str:
    parts = []
    for device, records in results.items():
        if name in records:
            parts += [as_markdown(records[name]), _source(device, records[name])]
            parts += [
                f'![{plot.title}](performance/{file})\n'
                for file, plot in plots.items()
                if (plot.device, plot.benchmark) == (device, name)
            ]
    return '\n'.join(parts) or f'Not measured yet: `python -m benchmarks {name} --keep`.\n'


def as_markdown(record: Mapping[str, Any]) -> str:
    """The rows of a record as a table."""
    labels = headings(record['rows'])
    keys = list(labels)
    lines = [f'| {" | ".join(labels.values())} |', '|' + '---|' * len(labels)]
    lines += [f'| {" | ".join(cells(row, keys, brief=True))} |' for row in record['rows']]
    return '\n'.join(lines) + '\n'


def _source(device: str, record: Mapping[str, Any]) -> str:
    hardware = record['hardware']
    processor = f'{hardware["processor"]} ({hardware["cores"]} cores)'
    machine = f'{hardware["gpu"]}, {processor}' if hardware['gpu'] else processor
    versions = ', '.join(f'{name} {value}' for name, value in record['versions'].items() if value)
    threads = f'{record["threads"]} thread{"s" if record["threads"] > 1 else ""}'
    repeats = f'{record["repeats"]} repeat{"s" if record["repeats"] > 1 else ""}'
    return (
        f'`{device}`: {machine}, {threads}; {repeats}; seed {record["seed"]}; commit '
        f'{record["commit"] or "unknown"}; {versions}.\n\n```shell\n{record["command"]}\n```\n'
    )
