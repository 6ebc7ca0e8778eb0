"""Which files of a work dir belong to a run."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from mmengine.config import Config

_STAMP = re.compile(r'\d{8}_\d{6}')


@dataclass(frozen=True)
class LogPart:
    """The folder of one start of a tool; a path is None where there is no such file.

    ``scalars`` holds what was logged in training, ``results`` what a test found.
    """

    folder: Path
    scalars: Path | None
    results: Path | None
    config: Path | None
    log: Path | None


@dataclass(frozen=True)
class RunFiles:
    """A run: its config, its starts in order of time, and the checkpoint to look at."""

    work_dir: Path
    name: str
    config: Config
    trainings: tuple[LogPart, ...]
    tests: tuple[LogPart, ...]
    checkpoint: Path | None


def find_run(work_dir: str | Path, checkpoint: str | Path | None = None) -> RunFiles:
    """Look for the files of a run.

    The config is that of the last training, since a test writes its own into the work dir.

    Args:
        work_dir: Work dir of a training.
        checkpoint: A checkpoint instead of the last one.

    Returns:
        What there is.

    Raises:
        FileNotFoundError: If there is no such folder or checkpoint.
        ValueError: If the folder holds no run.
    """
    root = Path(work_dir)
    if not root.is_dir():
        raise FileNotFoundError(f'WORK_DIR: no folder at {root.absolute()}')
    if checkpoint is not None and not Path(checkpoint).is_file():
        raise FileNotFoundError(f'--checkpoint: no file at {Path(checkpoint).absolute()}')
    parts = [_part(folder) for folder in sorted(root.iterdir()) if _STAMP.fullmatch(folder.name)]
    trainings = tuple(part for part in parts if part.scalars)
    tests = tuple(part for part in parts if part.results)
    dumped = sorted(root.glob('*.py'), key=lambda path: path.stat().st_mtime)
    configs = [part.config for part in trainings if part.config] or dumped
    if not configs:
        held = ', '.join(sorted(path.name for path in root.iterdir())[:5]) or 'nothing'
        raise ValueError(
            f'{root} is no work dir of a run: expected a config (*.py) and '
            '<timestamp>/vis_data/scalars.json, as python tools/train.py CONFIG --work-dir '
            f'WORK_DIR writes them; it holds {held}'
        )
    config = Config.fromfile(configs[-1])
    if 'model' not in config:
        raise ValueError(f'{configs[-1]} is no config of a run: it has no model')
    found = last_checkpoint(root) if checkpoint is None else Path(checkpoint)
    return RunFiles(root, _name(dumped, config, root), config, trainings, tests, found)


def last_checkpoint(work_dir: Path) -> Path | None:
    """The last checkpoint, also if the work dir was moved since it was written."""
    pointer = work_dir / 'last_checkpoint'
    if pointer.is_file():
        written = Path(pointer.read_text().strip())
        for path in (work_dir / written.name, written):
            if path.is_file():
                return path
    found = {
        int(match[1]): path
        for path in work_dir.glob('*.pth')
        if (match := re.fullmatch(r'(?:iter|epoch)_(\d+)', path.stem))
    }
    return found[max(found)] if found else None


def _part(folder: Path) -> LogPart:
    def existing(path: Path) -> Path | None:
        return path if path.is_file() else None

    return LogPart(
        folder,
        existing(folder / 'vis_data' / 'scalars.json'),
        existing(folder / f'{folder.name}.json'),
        existing(folder / 'vis_data' / 'config.py'),
        existing(folder / f'{folder.name}.log'),
    )


def _name(dumped: list[Path], config: Config, root: Path) -> str:
    """The name of the config; of several in the folder, the newest one with the same model."""
    if len(dumped) > 1:
        same = [path for path in dumped if Config.fromfile(path).get('model') == config.model]
        dumped = same or dumped
    return dumped[-1].stem if dumped else root.absolute().name
