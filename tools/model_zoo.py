"""The table of all configs for ``docs/model_zoo.md``, for ``tools/results.py``."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from result_tables import columns, flat, heading, read_metafile

PAGE = Path('docs/model_zoo.md')
TEXT = """\
# Model zoo

All configs, with what was run of them here: the first score of each beside that of the untrained
model, and the overlap with objects (mBO_i), as means over seeds with the range in brackets. Most
runs are short ones on two CPU cores, on small data: **they compare configs with each other, and not
with published figures**. Scores of masks are under the named [protocol](evaluation.md#protocols);
all scores, their commands, commits and hardware stand in the README of the method.

This page is written by `python tools/results.py tables` from `configs/*/metafile.yml`.
"""
HEAD = """\
| config | score | trained | untrained | mBO_i | steps | seeds | protocol | data |
|---|---|---|---|---|---|---|---|---|
"""


def model_zoo(root: Path) -> str:
    """The page, from the metafiles of all methods."""
    parts = [TEXT]
    for folder in sorted(path.parent for path in root.glob('configs/*/metafile.yml')):
        content = read_metafile(folder)
        paper = content['Collections'][0].get('Paper')
        title = f'[{paper["Title"]}]({paper["URL"]}). ' if paper else ''
        parts.append(
            f'## {content["Collections"][0]["Name"]}\n\n'
            f'{title}All scores: [`configs/{folder.name}/`](../configs/{folder.name}/).\n'
        )
        run = [flat(model) for model in content['Models'] if model['Results']]
        if run:
            parts.append(HEAD + ''.join(map(_row, run)))
        if missing := [_link(model) for model in content['Models'] if not model['Results']]:
            parts.append(f'Not run here: {", ".join(missing)}.\n')
    return '\n'.join(parts)


def _row(model: dict[str, Any]) -> str:
    first = columns([model])[0]
    rows = model['Results']
    cells = [
        _link(model),
        heading(first),
        *(
            _summary([row.get(key) for row in rows])
            for key in (first, f'untrained_{first}', 'mbo_i')
        ),
        f'{model["Steps"]:,}',
        str(len(rows)),
        model['Protocol'] or '-',
        model['Data'],
    ]
    return f'| {" | ".join(cells)} |\n'


def _link(model: dict[str, Any]) -> str:
    """The config, and what its entry is called if that is something else."""
    path = Path(model['Config'])
    link = f'[`{path.name}`](../{path})'
    return link if model['Name'] == path.stem else f'{link} ({model["Name"]})'


def _summary(values: Sequence[float | None]) -> str:
    """Mean and range of what all seeds have."""
    known = [value for value in values if value is not None]
    if not known:
        return '-'
    mean = f'{sum(known) / len(known):.3f}'
    return mean if len(known) == 1 else f'{mean} ({min(known):.3f} to {max(known):.3f})'
