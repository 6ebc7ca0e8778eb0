import os
from itertools import count
from pathlib import Path

import pytest
import torch
from mmengine.registry import DefaultScope
from mmengine.visualization import Visualizer

_SCOPES = count()
SHARED = Path(__file__).resolve().parents[2] / 'shared'


@pytest.fixture(autouse=True)
def _fresh_globals() -> None:
    """MMEngine keeps scope and visualizer process-wide; the seed is for repeatability."""
    DefaultScope.get_instance(f'test-{next(_SCOPES)}', scope_name='mmocl')
    Visualizer._instance_dict.clear()
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
    folder = _folder('MMOCL_GOLDEN', 'golden')
    if not folder.is_dir():
        pytest.skip(f'no golden vectors at {folder} (set MMOCL_GOLDEN)')
    return folder
