"""Tables of results from ``metafile.yml``, for ``tools/results.py``."""

import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import yaml

MARKERS = re.compile(r'(<!-- results: begin([^>]*?) *-->\n).*?(<!-- results: end -->)', re.DOTALL)
# Known metrics in the order of their columns, each followed by that of attention; others follow as
# they are named and recorded. The first two stand for runs that have them, as in tools/demo.py.
LABELS = {
    'fg_iou': 'foreground IoU',
    'fg_dice': 'foreground Dice',
    'fg_ari': 'FG-ARI',
    'ari': 'ARI',
    'mbo_i': 'mBO_i',
    'mbo_c': 'mBO_c',
    'miou': 'mIoU',
    'recon_mse': 'reconstruction MSE',
    'slots_covariance': 'slot covariance',
    'slots_correlation': 'slot correlation',
    'slots_std': 'slot std',
    'set_ap_inf': 'AP, any distance',
    'set_ap_1': 'AP, distance below 1',
    'set_ap_0.5': 'below 0.5',
    'set_ap_0.25': 'below 0.25',
    'set_ap_0.125': 'below 0.125',
    'set_ap_0.0625': 'below 0.0625',
}


# What of ``Metadata`` says how results came about.
METADATA = ('Command', 'Commit', 'Hardware', 'Steps', 'Data', 'Protocol')


def nested(entry: dict[str, Any]) -> dict[str, Any]:
    """An entry of ``Models`` in OpenMMLab's form: one of ``Results`` a seed, the rest in Metadata.

    Args:
        entry: Name, In Collection, Config, those of ``METADATA``, and rows of metrics with seed.
    """
    dataset = re.split('[,;]', entry['Data'])[0]
    results = []
    for row in entry['Results']:
        metrics = {name: value for name, value in row.items() if name != 'seed'}
        task = 'Set Prediction' if next(iter(metrics)).startswith('set_') else 'Object Discovery'
        about = {'Task': task, 'Dataset': dataset, 'Seed': row['seed']}
        results.append({**about, 'Metrics': metrics})
    kept = {key: entry[key] for key in ('Name', 'In Collection', 'Config')}
    return {**kept, 'Metadata': {key: entry[key] for key in METADATA}, 'Results': results}


def flat(model: dict[str, Any]) -> dict[str, Any]:
    """The entry that :func:`nested` was given; ``Results`` is None for one that was not run."""
    results = model.get('Results')
    rows = results and [{'seed': found['Seed'], **found['Metrics']} for found in results]
    return {**model, **(model.get('Metadata') or {}), 'Results': rows}


def changed_readmes(root: Path) -> dict[Path, str]:
    """The READMEs whose tables differ from what the metafiles hold, with their new text."""
    changed = {}
    for path in sorted(root.glob('configs/*/README.md')):
        text = path.read_text()
        new = with_tables(text, path.parent)
        if new != text:
            changed[path] = new
    return changed


def with_tables(text: str, folder: Path) -> str:
    """A README with its generated parts renewed.

    Raises:
        ValueError: If a marker has no partner.
    """
    if 2 * len(MARKERS.findall(text)) != text.count('<!-- results:'):
        raise ValueError(f'{folder.name}/README.md has a results marker without its partner.')

    def renew(match: re.Match[str]) -> str:
        folders = [folder, *(folder.parent / name for name in match[2].split())]
        models = [model for f in folders for model in read_metafile(f)['Models']]
        return f'{match[1]}\n{render(models)}\n{match[3]}'

    return MARKERS.sub(renew, text)


def read_metafile(folder: Path) -> dict[str, Any]:
    """Methods (``Collections``) and results (``Models``) of a folder of configs."""
    return yaml.safe_load((folder / 'metafile.yml').read_text())


def render(models: list[dict[str, Any]]) -> str:
    """Tables of entries, how they came about, and what was not run, in Markdown.

    Entries with the same first metric share a table.
    """
    models = [flat(model) for model in models]
    tables = defaultdict(list)
    for model in models:
        if model['Results']:
            tables[columns([model])[0]].append(model)
    parts = [_table(group) for group in tables.values()]
    notes = defaultdict(list)
    for model in (model for group in tables.values() for model in group):
        notes[_note(model)].append(model)
    for note, group in notes.items():
        text = note.replace('CONFIG', group[0]['Config']) if len(group) == 1 else note
        parts.append(f'{", ".join(map(_label, group))}: {text}')
    if missing := [_label(model) for model in models if not model['Results']]:
        parts.append(f'Not run: {", ".join(missing)}.\n')
    return '\n'.join(parts)


def columns(models: list[dict[str, Any]]) -> list[str]:
    """Names of all metrics of these entries, trained or not: known ones first."""
    names = dict.fromkeys(
        name.removeprefix('untrained_')
        for model in models
        for row in model['Results']
        for name in row
    )
    names.pop('seed')
    order = {name: i for i, name in enumerate(LABELS)}

    def place(name: str) -> tuple[int, bool]:
        base = _of_decoder(name)
        return (order[base], base != name) if base in order else (len(order), False)

    return sorted(names, key=place)


def _table(models: list[dict[str, Any]]) -> str:
    """A row a config and one of its untrained values, a column a metric, a cell of all seeds."""
    names = columns(models)
    head = f'| config | {" | ".join(map(heading, names))} |\n|{"---|" * (len(names) + 1)}\n'
    rows = []
    for model in models:
        recorded = {name for row in model['Results'] for name in row}
        for prefix, label in (('', ''), ('untrained_', ', untrained')):
            if not prefix or any(name.startswith(prefix) for name in recorded):
                cells = (_cell([row.get(prefix + n) for row in model['Results']]) for n in names)
                rows.append(f'| {_label(model)}{label} | {" | ".join(cells)} |\n')
    return head + ''.join(rows)


def _note(model: dict[str, Any]) -> str:
    """How the results of an entry came about, equal for all entries of a series."""
    ids = [str(row['seed']) for row in model['Results']]
    seeds = f'seed{"s" if len(ids) > 1 else ""} {", ".join(ids)}'
    protocol = f' protocol {model["Protocol"]};' if model['Protocol'] else ''
    text = (
        f'{seeds}; {model["Steps"]:,} steps; {model["Data"]};{protocol} '
        f'commit {model["Commit"]}; {model["Hardware"]}.\n'
    )
    if model['Command'].endswith('.md'):
        return f'{text}The commands are in `{model["Command"]}`.\n'
    command = model['Command'].replace(model['Config'], 'CONFIG')
    return f'{text}\n```bash\n{command}\n```\n'


def _label(model: dict[str, Any]) -> str:
    """Name of an entry; the file if that is the name."""
    path = Path(model['Config'])
    return f'`{path.name}`' if model['Name'] == path.stem else model['Name']


def heading(name: str) -> str:
    """Name of a metric for people."""
    base = _of_decoder(name)
    if base not in LABELS:
        return f'`{name}`'
    return LABELS[base] + ('' if base == name else ', attention')


def _of_decoder(name: str) -> str:
    """The metric without its mark of attention: of ``attn_mbo_i`` and ``fg_attn_iou``."""
    return name.replace('attn_', '', 1)


def _cell(values: list[float | None]) -> str:
    if all(value is None for value in values):
        return '-'
    return ', '.join('-' if value is None else f'{value:.3f}' for value in values)
