"""``tools/compose.py`` as a user calls it."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

from mmocl.apis import AggregatePosterior
from mmocl.registry import MODELS

ROOT = Path(__file__).resolve().parents[1]
CONFIG = 'configs/psa/psa_conv_sprites.py'
TINY = [
    'train_dataloader.batch_size=4',
    'train_dataloader.dataset.num_images=10',
    'test_dataloader.dataset.num_images=6',
    'model.slot_head.variance_space=value',
]


def compose(*args: str) -> str:
    """Run the tool in the repository and return what it printed."""
    env = {**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'}
    command = [sys.executable, 'tools/compose.py', CONFIG, *args]
    result = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    return result.stdout


def test_scenes_are_composed_and_the_posterior_is_kept(tmp_path) -> None:
    checkpoint = tmp_path / 'model.pth'
    model = MODELS.build(Config.fromfile(ROOT / CONFIG).model)
    torch.save({'state_dict': model.state_dict()}, checkpoint)
    posterior, first, again = (
        tmp_path / name for name in ('new/slots.safetensors', 'first.png', 'again.png')
    )
    options = ['--posterior', str(posterior), '--num-scenes', '8', '--num-slots', '3']

    log = compose(
        str(checkpoint), '--out', str(first), *options, '--num-images', '6', '--cfg-options', *TINY
    )
    assert 'ETA' in log
    assert 'Slots of 6 images are collected' in log
    kept = AggregatePosterior.load(posterior)
    assert (kept.num_images, kept.num_components) == (6, 6 * 5)
    # Rows: four test images, six scenes, two scenes; see the constants of the tool.
    pixels = np.asarray(Image.open(first))
    drawn = [
        not (pixels[top : top + 128, left : left + 128] == 255).all()
        for top, group in ((57, 3), (250, 2), (384, 2))
        for left in (8 + 134 * j + 12 * (j // group) for j in range(12))
    ]
    assert drawn == [True] * 28 + [False] * 8

    log = compose(str(checkpoint), '--out', str(again), *options, '--cfg-options', *TINY)
    assert 'Slots of 6 images are read from' in log
    assert 'ETA' not in log
    np.testing.assert_array_equal(np.asarray(Image.open(again)), pixels)

    with pytest.raises(AssertionError, match='gives no Gaussians in the space of its slots'):
        compose(str(checkpoint), '--out', str(again), '--cfg-options', *TINY[:-1])
