"""A work dir as ``tools/train.py`` and ``tools/test.py`` leave it, of a very small run."""

import os
import sys
from pathlib import Path
from unittest.mock import patch

from mmengine.config import Config
from mmengine.runner import Runner

from mmocl.visualization import SlotVisualizer
from tools import test as test_tool

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / 'configs/psa/psa_base_conv_sprites.py'
NUM_IMAGES = 7
TINY = {
    'train_dataloader.batch_size': 4,
    'train_dataloader.dataset.num_images': 16,
    'val_dataloader.dataset.num_images': NUM_IMAGES,
    'test_dataloader.dataset.num_images': NUM_IMAGES,
    'train_cfg.max_iters': 4,
    'train_cfg.val_interval': 2,
    'default_hooks.checkpoint.interval': 2,
    'default_hooks.logger.interval': 1,
    'param_scheduler': None,
    'custom_hooks': [
        {'type': 'StrictCheckpointHook'},
        {'type': 'CollapseMonitorHook', 'interval': 2, 'num_images': 2},
    ],
}


def write_run(work_dir: Path, scored: bool = True) -> Path:
    """Train for four iterations, and score what came out."""
    cfg = Config.fromfile(CONFIG)
    cfg.merge_from_dict({**TINY, 'work_dir': str(work_dir)})
    SlotVisualizer._instance_dict.clear()
    Runner.from_cfg(cfg).train()
    if scored:
        score(work_dir, work_dir / 'iter_4.pth', work_dir / 'scores.json')
    return work_dir


def score(work_dir: Path, checkpoint: Path, out: Path) -> None:
    """``tools/test.py`` as a user calls it."""
    SlotVisualizer._instance_dict.clear()
    size = f'test_dataloader.dataset.num_images={NUM_IMAGES}'
    argv = [
        *('test.py', str(CONFIG), str(checkpoint), '--work-dir', str(work_dir)),
        *('--protocol', 'square128', '--out', str(out), '--cfg-options', size),
    ]
    with patch.object(sys, 'argv', argv), patch.dict(os.environ):
        test_tool.main()
