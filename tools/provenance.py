"""Which command, code and machine made a result."""

import json
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

import mmocl


def command_of(argv: Sequence[str], environ: Mapping[str, str]) -> str:
    """The command line of all seeds: S stands for the seed and w for the folder of the run.

    Args:
        argv: Script and arguments.
        environ: Environment, of which ``OMP_NUM_THREADS`` belongs to the command.

    Returns:
        A line for a shell.
    """
    words = ['python', f'tools/{Path(argv[0]).name}']
    for before, word in pairwise(argv):
        if before == '--work-dir':
            word = 'w'
        elif word.startswith('--work-dir='):
            word = '--work-dir=w'
        elif word.startswith('randomness.seed='):
            word = 'randomness.seed=S'
        words.append(word)
    threads = environ.get('OMP_NUM_THREADS')
    return (f'OMP_NUM_THREADS={threads} ' if threads else '') + shlex.join(words)


def current_commit() -> str | None:
    """Short hash of the checked-out commit, marked if files differ from it; None without git."""
    command = ['git', 'describe', '--always', '--dirty', '--exclude=*']
    folder = Path(__file__).parent
    try:
        result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return result.stdout.strip()


def versions(*packages: str) -> dict[str, str | None]:
    """Versions of this package and of others, None for what is not installed."""
    found: dict[str, str | None] = {'mmocl': mmocl.__version__}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def shell_line() -> str:
    """The command line that runs, with the tool as it is called from the repository."""
    return shlex.join(['python', f'tools/{Path(sys.argv[0]).name}', *sys.argv[1:]])


def stamp(path: str | Path, source: Mapping[str, Any]) -> dict[str, Any]:
    """Write into a record of scores whose they are.

    Args:
        path: JSON file of a metric's ``record_path``.
        source: What to write, as ``source``.

    Returns:
        The content without the images.
    """
    content = json.loads(Path(path).read_text())
    Path(path).write_text(json.dumps({'source': dict(source), **content}, allow_nan=False))
    return {key: value for key, value in content.items() if key != 'images'}


def hardware() -> str:
    """Name of the GPU, or of the processor and how many threads of it work."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    threads = torch.get_num_threads()
    return f'{processor()}, {threads} {"thread" if threads == 1 else "threads"}'


def processor() -> str:
    """Name of the processor."""
    info = Path('/proc/cpuinfo')
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.split(':', 1)[1].strip() for line in lines if line.startswith('model name')]
    return names[0] if names else platform.processor() or platform.machine()
