"""A result as an aligned table in the terminal."""

from typing import Any

from rich.table import Table

from benchmarks.columns import cells, headings


def as_table(record: dict[str, Any]) -> Table:
    """Table of a record: a line a row, ratios first."""
    labels = headings(record['rows'])
    machine = record['hardware']['gpu'] or record['hardware']['processor']
    table = Table(
        title=f'{record["name"]}: {machine}, {record["threads"]} threads, '
        f'{record["repeats"]} repeats, commit {record["commit"]}'
    )
    text = {key for key in labels for row in record['rows'] if isinstance(row.get(key), str)}
    for key, label in labels.items():
        table.add_column(label, justify='left' if key in text else 'right')
    for row in record['rows']:
        table.add_row(*cells(row, list(labels)))
    return table
