"""Keep the results of the configs: in ``metafile.yml``, and as tables in the README beside it.

``python tools/results.py record RUN_DIR [RUN_DIR ...]`` takes runs of one config by
``tools/demo.py`` with several seeds and writes the entry of that config, in place of an older one.
``python tools/results.py tables`` rewrites what stands between the markers
``<!-- results: begin -->`` and ``<!-- results: end -->``; folders behind ``begin`` add their
entries. ``tables --check`` only says which page would change. The model zoo
(``docs/model_zoo.md``) is written too.
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
from model_zoo import PAGE, model_zoo
from result_tables import changed_readmes, nested

ROOT = Path(__file__).resolve().parents[1]
# Counts, and scores that say little beside the others.
NOT_RECORDED = re.compile(r'(^|_)(num_\w+|fg_ari_multi|mbo_c|ocl_(attn_)?(corloc|recall))$')
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
    tables = commands.add_parser('tables', help='write the tables of all READMEs and the model zoo')
    tables.add_argument('--check', action='store_true', help='write nothing; exit 1 on a change')
    args = parser.parse_args()

    if args.what == 'record':
        path = record_runs(ROOT, args.runs)
        print(f'{path.relative_to(ROOT)} is written; "tables" brings it into the README.')
        return
    changed = changed_pages(ROOT)
    for path, text in changed.items():
        print(f'{path.relative_to(ROOT)} {"differs" if args.check else "is written"}')
        if not args.check:
            path.write_text(text)
    if args.check and changed:
        sys.exit(1)


def changed_pages(root: Path) -> dict[Path, str]:
    """The pages that differ from what the metafiles hold, with their new text."""
    changed = changed_readmes(root)
    page = root / PAGE
    if page.is_file() and page.read_text() != (text := model_zoo(root)):
        changed[page] = text
    return changed


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
    entry = {
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
    return nested(entry)


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
        {**model, 'Results': [_Row(row) for row in model['Results']]}
        if model.get('Results')
        else model
        for model in content['Models']
    ]
    content = {**content, 'Models': models}
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10**6)


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
