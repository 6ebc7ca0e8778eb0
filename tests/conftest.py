import json
import os
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope
from PIL import Image

from mmocl.visualization import SlotVisualizer

_SCOPES = count()
SHARED = Path(__file__).resolve().parents[2] / 'shared'
# Every test of golden vectors reads this folder; another one of the same format can be named.
os.environ.setdefault('MMOCL_GOLDEN_DIR', str(Path(__file__).parent / 'data' / 'golden'))


@pytest.fixture(autouse=True)
def _fresh_globals() -> None:
    """MMEngine keeps scope and visualizer process-wide; the seed is for repeatability."""
    DefaultScope.get_instance(f'test-{next(_SCOPES)}', scope_name='mmocl')
    SlotVisualizer._instance_dict.clear()
    torch.manual_seed(0)


def _folder(variable: str, name: str) -> Path:
    return Path(os.environ.get(variable, SHARED / name))


@pytest.fixture(scope='session')
def data_root() -> Path:
    """Real images; the tests that need them are skipped where there are none."""
    folder = _folder('MMOCL_DATA', 'data')
    if not folder.is_dir():
        pytest.skip(f'no real data at {folder} (set MMOCL_DATA)')
    return folder


@pytest.fixture(scope='session')
def weights_root() -> Path:
    """Real weights; the tests that need them are skipped where there are none."""
    folder = _folder('MMOCL_WEIGHTS', 'weights')
    if not folder.is_dir():
        pytest.skip(f'no real weights at {folder} (set MMOCL_WEIGHTS)')
    return folder


@pytest.fixture(scope='session')
def golden_root() -> Path:
    """Golden vectors of other implementations."""
    return Path(os.environ['MMOCL_GOLDEN_DIR'])


@pytest.fixture(scope='session')
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Raw COCO and VOC folders of four small images a split, for whole runs."""
    root = tmp_path_factory.mktemp('data')
    rng = np.random.default_rng(0)
    for split in ('train2017', 'val2017'):
        images, annotations = [], []
        for i in range(4):
            _write(root / f'coco/{split}/{i}.jpg', rng.integers(0, 256, (60, 80, 3)))
            images.append({'id': i, 'file_name': f'{i}.jpg', 'height': 60, 'width': 80})
            for k, box in enumerate(([20, 10, 40, 10, 40, 30, 20, 30], [50, 40, 60, 40, 60, 55])):
                annotation = {'id': 2 * i + k, 'image_id': i, 'category_id': 1 + k, 'iscrowd': 0}
                annotations.append({**annotation, 'segmentation': [box]})
        content = {'images': images, 'annotations': annotations, 'categories': []}
        (root / 'coco/annotations').mkdir(exist_ok=True)
        (root / f'coco/annotations/instances_{split}.json').write_text(json.dumps(content))
    ids = np.zeros((60, 80))
    ids[10:30, 20:40] = 1
    for i in range(4):
        _write(root / f'VOC2012/JPEGImages/{i}.jpg', rng.integers(0, 256, (60, 80, 3)))
        for folder in ('SegmentationObject', 'SegmentationClass'):
            _write(root / f'VOC2012/{folder}/{i}.png', ids, 'P')
    (root / 'VOC2012/ImageSets/Segmentation').mkdir(parents=True)
    for split in ('trainaug', 'train', 'val'):
        (root / f'VOC2012/ImageSets/Segmentation/{split}.txt').write_text('0\n1\n2\n3\n')
    return root


def _write(path: Path, pixels: np.ndarray, mode: str = 'RGB') -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels.astype(np.uint8))
    if mode == 'P':
        image.putpalette([v for i in range(256) for v in (i, i, i)])
    image.save(path)
