import os
from collections.abc import Callable
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope
from mmengine.visualization import Visualizer
from torch import nn

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


class Golden:
    """One golden case; ``close`` applies the float64 rule of its README."""

    def __init__(self, path: Path) -> None:
        self.arrays = np.load(path)

    def __getitem__(self, key: str) -> torch.Tensor:
        return torch.from_numpy(self.arrays[key]).double()

    def load(self, module: nn.Module, names: dict[str, str]) -> None:
        """Fill ``module`` from golden weights; ``names`` maps its keys to theirs."""
        module.double().load_state_dict({k: self[f'w.{v}'] for k, v in names.items()})

    def close(self, got: torch.Tensor, key: str) -> None:
        want = self[key]
        limit = 1e-7 + 1e-6 * want.abs().max()
        assert got.shape == want.shape
        assert (got - want).abs().max() <= limit, (key, (got - want).abs().max(), limit)


@pytest.fixture
def golden(golden_root: Path) -> Callable[[str], Golden]:
    """Load a golden case by name."""
    return lambda name: Golden(golden_root / f'{name}.npz')
