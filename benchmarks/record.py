"""Keep what a benchmark measured, with what is needed to understand or repeat it."""

import json
import os
import re
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.measure import Setting
from tools.provenance import processor, versions

ROOT = Path(__file__).resolve().parents[1]
KEPT = ROOT / 'benchmarks' / 'results'
# Written by the benchmarks themselves: these files say nothing about the code that ran.
MADE = ('benchmarks/results', 'docs/performance.md', 'docs/performance')
DIGITS = 6


def as_record(
    name: str, argv: Sequence[str], setting: Setting, rows: list[dict[str, Any]]
) -> dict[str, Any]:
    """Rows of a benchmark with command, machine, versions and commit.

    Args:
        name: Name of the benchmark.
        argv: Arguments of ``python -m benchmarks``, without the names.
        setting: How it was run.
        rows: What it measured.
    """
    return {
        'name': name,
        'command': command(name, argv),
        'commit': current_commit(),
        'device': setting.device,
        'hardware': hardware(setting.device),
        'versions': versions(
            'torch', 'timm', 'onedl-mmengine', 'onedl-mmsegmentation', 'slot-attention', 'numpy'
        ),
        'threads': torch.get_num_threads(),
        'repeats': setting.repeats,
        'seed': setting.seed,
        'tiny': setting.tiny,
        'rows': _rounded(rows),
    }


def write(record: dict[str, Any], path: Path) -> None:
    """Write a record as JSON, its folder too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1, allow_nan=False) + '\n')


def read_kept(folder: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """Kept records by device and name of the benchmark.

    Raises:
        ValueError: If a record is of a tiny run, or lies under another name than its own.
    """
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for path in sorted(folder.glob('*/*.json')):
        record = json.loads(path.read_text())
        if record['tiny'] or record['name'] != path.stem:
            raise ValueError(
                f'{path} must be a full run of {path.stem}, got one of {record["name"]} with '
                f'tiny={record["tiny"]}.'
            )
        found.setdefault(path.parent.name, {})[path.stem] = record
    return found


def command(name: str, argv: Sequence[str]) -> str:
    """The line that runs one benchmark again, whatever became of the result."""
    threads = os.environ.get('OMP_NUM_THREADS')
    words: list[str] = []
    before = ''
    for word in argv:
        if before != '--json' and word != '--keep' and not word.startswith('--json'):
            words.append(word)
        before = word
    line = shlex.join(['python', '-m', 'benchmarks', name, *words])
    return (f'OMP_NUM_THREADS={threads} ' if threads else '') + line


def hardware(device: str) -> dict[str, Any]:
    """Processor, its cores that may be used, and the GPU if it is what was measured."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        cores = os.cpu_count() or 1
    gpu = torch.cuda.get_device_name() if device == 'cuda' else None
    return {'processor': processor(), 'cores': cores, 'gpu': gpu}


def slug(device: str) -> str:
    """Folder of the results of this machine, such as ``cpu-amd-epyc-2c``."""
    found = hardware(device)
    if found['gpu']:
        return f'cuda-{_slug(found["gpu"])}'
    return f'cpu-{_slug(found["processor"])}-{found["cores"]}c'


def current_commit() -> str | None:
    """Short hash of the checked-out commit, ``-dirty`` if other files than results differ."""
    try:
        commit = _git('rev-parse', '--short', 'HEAD')
        others = (f':(exclude){path}' for path in MADE)
        changed = _git('status', '--porcelain', '--untracked-files=no', '--', '.', *others)
    except (OSError, subprocess.CalledProcessError):
        return None
    return f'{commit}-dirty' if changed else commit


def _git(*words: str) -> str:
    result = subprocess.run(['git', *words], cwd=ROOT, capture_output=True, text=True, check=True)
    return result.stdout.strip()


def _slug(name: str) -> str:
    return re.sub('[^a-z0-9]+', '-', name.lower()).strip('-')


def _rounded(value: Any) -> Any:
    """Numbers to a few significant digits, whole ones as they are."""
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return float(f'{value:.{DIGITS}g}') if isinstance(value, float) else value
