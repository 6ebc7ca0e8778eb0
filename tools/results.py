"""Keep the results of the configs: in ``metafile.yml``, and as tables in the README beside it.

``python tools/results.py record RUN_DIR [RUN_DIR ...]`` takes runs of one config by
``tools/demo.py`` with several seeds and writes the entry of that config, in place of an older one.
``python tools/results.py tables`` rewrites what stands between the markers
``<!-- results: begin -->`` and ``<!-- results: end -->``; folders behind ``begin`` add their
entries. ``tables --check`` only says which README would change.
"""

import argparse
import json
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
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
    'recon_mse': 'reconstruction MSE',
    'slots_covariance': 'slot covariance',
    'slots_correlation': 'slot correlation',
    'slots_std': 'slot std',
    'set_ap_inf': 'AP, any distance',
}
# Counts, and scores that say little beside the others.
NOT_RECORDED = re.compile(r'(^|_)(num_\w+|fg_ari_multi|mbo_c)$')
# Keys of metrics.json: in these all seeds agree, and each may have its own of the others. Which
# metric is the headline decides nothing here, but behind it the metrics begin.
SHARED = ('config', 'command', 'steps', 'data', 'protocol', 'protocol_version')
OWN = ('seed', 'commit', 'hardware', 'headline')


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest='what', required=True)
    record = commands.add_parser('record', help='write the entry of a config from its runs')
    record.add_argument('runs', nargs='+', type=Path, metavar='RUN_DIR', help='one a seed')
    tables = commands.add_parser('tables', help='write the tables of all READMEs')
    tables.add_argument('--check', action='store_true', help='write nothing; exit 1 on a change')
    args = parser.parse_args()

    if args.what == 'record':
        path = record_runs(ROOT, args.runs)
        print(f'{path.relative_to(ROOT)} is written; "tables" brings it into the README.')
        return
    changed = changed_readmes(ROOT)
    for path, text in changed.items():
        print(f'{path.relative_to(ROOT)} {"differs" if args.check else "is written"}')
        if not args.check:
            path.write_text(text)
    if args.check and changed:
        sys.exit(1)


def record_runs(root: Path, folders: Iterable[Path]) -> Path:
    """Write the entry of a config into the metafile of its folder.

    Args:
        root: Folder that paths of configs start from.
        folders: Folders with ``metrics.json``, one a seed.

    Returns:
        The metafile.

    Raises:
        ValueError: If the runs do not belong together or the config has no metafile beside it.
    """
    runs = [json.loads((folder / 'metrics.json').read_text()) for folder in folders]
    entry = entry_of(runs)
    path = root / Path(entry['Config']).parent / 'metafile.yml'
    if not path.is_file():
        raise ValueError(f'{entry["Config"]} needs {path.name} with its Collections beside it.')
    content = yaml.safe_load(path.read_text())
    path.write_text(dump(with_entry(content, entry)))
    return path


def entry_of(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """One entry of ``Models``, without its collection, from the metrics of several seeds.

    Raises:
        ValueError: If the runs are of an older demo, share a seed, or differ in more than seed,
            commit, hardware and headline.
    """
    for run in runs:
        if missing := [key for key in SHARED + OWN if key not in run]:
            raise ValueError(f'metrics.json lacks {missing}; run tools/demo.py of today again.')
    runs = sorted(runs, key=lambda run: run['seed'])
    seeds = [run['seed'] for run in runs]
    if len(set(seeds)) != len(seeds):
        raise ValueError(f'Expected one run a seed, got seeds {seeds}.')
    first = runs[0]
    for key in SHARED:
        if any(run[key] != first[key] for run in runs):
            values = {run['seed']: run[key] for run in runs}
            raise ValueError(f'Runs of one config must agree in {key!r}, got by seed {values}.')
    return {
        'Name': Path(first['config']).stem,
        'In Collection': None,
        'Config': first['config'],
        'Command': first['command'],
        'Commit': _by_seed(runs, 'commit'),
        'Hardware': _by_seed(runs, 'hardware'),
        'Steps': first['steps'],
        'Data': _data(first['data']),
        'Protocol': _protocol(first['protocol'], first['protocol_version']),
        'Results': [_row(run) for run in runs],
    }


def with_entry(content: dict[str, Any], entry: dict[str, Any]) -> dict[str, Any]:
    """The metafile with this entry in place of the one of its name, or as its last."""
    models = list(content['Models'] or [])
    names = [model['Name'] for model in models]
    at = names.index(entry['Name']) if entry['Name'] in names else len(models)
    old = models[at : at + 1]
    collection = (old or content['Collections'])[0]['In Collection' if old else 'Name']
    models[at : at + 1] = [{**entry, 'In Collection': collection}]
    return {**content, 'Models': models}


def dump(content: dict[str, Any]) -> str:
    """A metafile as text: a line a seed, three decimals."""
    models = [
        {**model, 'Results': [_Row(row) for row in model['Results']]} if model['Results'] else model
        for model in content['Models']
    ]
    content = {**content, 'Models': models}
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10**6)


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
        metafiles = (yaml.safe_load((f / 'metafile.yml').read_text()) for f in folders)
        models = [model for content in metafiles for model in content['Models']]
        return f'{match[1]}\n{render(models)}\n{match[3]}'

    return MARKERS.sub(renew, text)


def render(models: list[dict[str, Any]]) -> str:
    """Tables, how they came about, and what was not run, in Markdown.

    Entries with the same first metric share a table.
    """
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
    head = f'| config | {" | ".join(map(_heading, names))} |\n|{"---|" * (len(names) + 1)}\n'
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


def _heading(name: str) -> str:
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


def _row(run: Mapping[str, Any]) -> dict[str, Any]:
    """Seed, metrics and untrained values of these."""
    names = list(run)[list(run).index('headline') + 1 :]
    names = [name for name in names if not NOT_RECORDED.search(name)]
    names.sort(key=lambda name: name.startswith('untrained_'))
    # The sum makes 0 of what is rounded to minus 0.
    scores = {name: None if run[name] is None else round(run[name], 3) + 0.0 for name in names}
    # Metrics of object discovery are known without their prefix.
    return {'seed': run['seed']} | {
        re.sub('^(untrained_)?ocl_', r'\1', name): value for name, value in scores.items()
    }


def _by_seed(runs: list[dict[str, Any]], key: str) -> str:
    """A value, or all values with the seeds that they belong to."""
    seeds = defaultdict(list)
    for run in runs:
        seeds[run[key] or 'unknown'].append(str(run['seed']))
    if len(seeds) == 1:
        return next(iter(seeds))
    return ', '.join(f'{value} (seed {", ".join(ids)})' for value, ids in seeds.items())


def _data(dataset: Mapping[str, Any]) -> str:
    """The dataset in words: its type and its plain arguments, without folders."""
    plain = {
        key: value
        for key, value in dataset.items()
        if isinstance(value, str | int | float) and '/' not in str(value)
    }
    kind = plain.pop('type')
    plain.pop('test_mode', None)
    return ', '.join([kind, *(f'{key} {value}' for key, value in plain.items())])


def _protocol(names: str | None, versions: str | None) -> str | None:
    if names is None or versions is None:
        return None
    pairs = zip(names.split(', '), versions.split(', '), strict=True)
    return ', '.join(f'{name} v{version}' for name, version in pairs)


class _Row(dict):
    """A mapping that is written on one line."""


class _Dumper(yaml.SafeDumper):
    """Writes lists indented."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


_Dumper.add_representer(
    _Row, lambda dumper, row: dumper.represent_mapping(dumper.DEFAULT_MAPPING_TAG, row, True)
)
_Dumper.add_representer(
    float, lambda dumper, value: dumper.represent_scalar('tag:yaml.org,2002:float', f'{value:.3f}')
)


if __name__ == '__main__':
    main()
