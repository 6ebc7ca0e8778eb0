import os
from itertools import count
from pathlib import Path

import pytest
import torch
from mmengine.registry import DefaultScope
from tiny_data import write_all

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
    """Raw folders of every data set, a few small images a split, for whole runs."""
    root = tmp_path_factory.mktemp('data')
    write_all(root)
    return root
