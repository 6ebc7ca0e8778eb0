from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from mmengine.runner import Runner
from torch.utils.data import ConcatDataset, Dataset, Subset

from mmocl.engine.hooks import FeatureCacheHook
from mmocl.engine.hooks import feature_cache_hook as module
from mmocl.engine.hooks.feature_cache_hook import feature_caches
from mmocl.engine.hooks.slot_visualization_hook import seen_image
from mmocl.structures import SlotDataSample


class Cached(Dataset):
    """A dataset of one item that may read a cache."""

    def __init__(self, cache: object) -> None:
        self.feature_cache = cache

    def __len__(self) -> int:
        return 1


def test_caches_are_found_behind_wrappers() -> None:
    a, b = Mock(), Mock()
    both = ConcatDataset([Cached(a), Cached(None), Subset(Cached(b), [0])])
    assert list(feature_caches(both)) == [a, b]
    assert list(feature_caches([1, 2])) == []


@pytest.mark.parametrize('mode', ['train', 'val', 'test'])
def test_weights_are_hashed_once_and_only_for_caches(
    mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = Mock(return_value={'weights': '1'})
    monkeypatch.setattr(module, 'model_key', key)
    cache = Mock()
    loaders = {
        f'{name}_dataloader': SimpleNamespace(dataset=Cached(cache if name == mode else None))
        for name in ('train', 'val', 'test')
    }
    runner = Mock(spec=Runner, model=torch.nn.Module(), **loaders)
    runner.model.backbone = runner.model.data_preprocessor = torch.nn.Identity()
    hook = FeatureCacheHook()
    for _ in range(2):
        for name in ('train', 'val', 'test'):
            getattr(hook, f'before_{name}')(runner)
    key.assert_called_once()
    assert cache.require_model.call_count == 2
    cache.require_model.assert_called_with({'weights': '1'})


def test_tokens_without_images_are_drawn_grey() -> None:
    sample = SlotDataSample(metainfo={'img_id': 'a', 'img_shape': (6, 8)})
    picture = seen_image(torch.zeros(4, 3), sample)
    np.testing.assert_array_equal(picture, np.full((6, 8, 3), 128))
