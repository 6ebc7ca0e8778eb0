"""Commands of the pages, run or only parsed in the process of the test.

A process of its own for every command would import torch every time.
"""

import argparse
import contextlib
import re
import runpy
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

from mmengine.config import Config
from mmengine.logging import MessageHub
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmengine.visualization import Visualizer

from mmocl.visualization import SlotVisualizer

STEPS = 2
_FROM_FILE = Config.fromfile
_FROM_CFG = Runner.from_cfg.__func__
_PARSE = argparse.ArgumentParser.parse_args


class Parsed(Exception):
    """Ends a tool once its arguments are understood."""


def run(argv: Sequence[str]) -> None:
    """Run ``python ARGV`` with shrunk trainings and data.

    Raises:
        SystemExit: As the tool does.
        Exception: Whatever the tool raises.
    """
    if argv[0] == 'tools/export.py':
        # Symbols that stand for sizes are no int to the hook that checks types in this process.
        subprocess.run([sys.executable, *argv], check=True)
        return
    fresh_globals()
    with patch.object(Config, 'fromfile', _small), patch.object(Runner, 'from_cfg', _short):
        _start(argv)


def parse(argv: Sequence[str]) -> None:
    """Let ``python ARGV`` read its arguments, and load the configs among them.

    Raises:
        SystemExit: If the tool refuses an argument.
        AssertionError: If it reads none, or a config does not exist.
    """
    found: list[argparse.Namespace] = []

    def stop(parser: argparse.ArgumentParser, *args: Any, **options: Any) -> None:
        found.append(_PARSE(parser, *args, **options))
        raise Parsed

    with patch.object(argparse.ArgumentParser, 'parse_args', stop), contextlib.suppress(Parsed):
        _start(argv)
    assert found, f'{argv[0]} does not read its arguments'
    for value in vars(found[0]).values():
        if isinstance(value, str) and re.match(r'(configs|projects)/.*\.py$', value):
            config = Config.fromfile(value)
            config.merge_from_dict(getattr(found[0], 'cfg_options', None) or {})


def check_make(argv: Sequence[str], root: Path) -> None:
    """``make TARGET``: the target exists."""
    subprocess.run(['make', '-n', *argv], cwd=root, check=True, capture_output=True)


def check_pip(argv: Sequence[str], root: Path) -> None:
    """``pip install -e '.[EXTRA]'``: requirements of that name exist."""
    assert argv[0] == 'install', argv
    for target in argv[1:]:
        extras = re.match(r'\.\[(.*)\]$', target)
        for name in extras[1].split(',') if extras else []:
            assert (root / f'requirements/{name}.txt').is_file(), f'no extra {name!r}'
        assert extras or target in ('-e', '.'), target


def fresh_globals() -> None:
    """Forget what MMEngine keeps for a whole process: every command has its own."""
    for manager in (MessageHub, Visualizer, SlotVisualizer):
        manager._instance_dict.clear()
    DefaultScope.get_instance(f'docs-{fresh_globals.count}', scope_name='mmocl')
    fresh_globals.count += 1


fresh_globals.count = 0


def _start(argv: Sequence[str]) -> None:
    run_it: Callable[..., Any] = runpy.run_path
    if argv[0] == '-c':
        exec(compile(argv[1], '-c', 'exec'), {'__name__': '__main__'})
        return
    if argv[0] == '-m':
        run_it, argv = runpy.run_module, argv[1:]
    with patch.object(sys, 'argv', list(argv)):
        try:
            run_it(argv[0], run_name='__main__')
        except SystemExit as stop:
            if stop.code not in (None, 0):
                raise


def _small(path: str | Path, *args: Any, **options: Any) -> Config:
    """The config with a few images of everything, and without weights from elsewhere."""
    cfg = _FROM_FILE(path, *args, **options)
    without_weights(cfg.get('model'))
    backbone = (cfg.get('model') or {}).get('backbone', {})
    if 'vit_' in backbone.get('model_name', ''):
        backbone.setdefault('block', 0)  # of blocks that all have one shape
    for name in ('train', 'val', 'test'):
        loader = cfg.get(f'{name}_dataloader')
        if loader:
            loader.update(batch_size=4, num_workers=0, persistent_workers=False)
            if 'num_images' in loader.dataset:
                loader.dataset.num_images = 8
    return cfg


def _short(cls: type[Runner], cfg: Config) -> Runner:
    """A runner of two steps, whose checkpoint has the name of the one that pages speak of."""
    steps = (cfg.get('train_cfg') or {}).get('max_iters')
    if steps is not None:
        cfg.train_cfg.update(max_iters=STEPS, val_interval=STEPS)
        cfg.default_hooks.checkpoint.interval = STEPS
        for scheduler in cfg.get('param_scheduler') or []:
            scheduler.setdefault('end', steps)  # the runner would end them after two steps
    runner = _FROM_CFG(cls, cfg)
    train = runner.train

    def train_and_rename() -> Any:
        model = train()
        Path(cfg.work_dir, f'iter_{STEPS}.pth').rename(Path(cfg.work_dir, f'iter_{steps}.pth'))
        return model

    runner.train = train_and_rename
    return runner


_short = classmethod(_short)


def without_weights(part: Any) -> None:
    """Leave out files and downloads of weights, wherever in a model they are named."""
    if isinstance(part, dict):
        for key, value in (('pretrained', False), ('checkpoint', None)):
            if key in part:
                part[key] = value
    if isinstance(part, dict | list):
        for child in part.values() if isinstance(part, dict) else part:
            without_weights(child)
