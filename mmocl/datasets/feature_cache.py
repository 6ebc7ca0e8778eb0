from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import BFloat16
from mmengine.logging import print_log
from torch import Tensor

from mmocl.datasets.cache_views import view_steps
from mmocl.datasets.shards import ShardFolder, differences

# Raised when the code changes what tokens are; caches of another version are refused.
TOKENS_VERSION = 1
# What a dataset's config gives for a cache: a folder, or a dict with more.
CacheSettings = str | Path | Mapping[str, Any]


class FeatureCache:
    """Tokens of a frozen backbone, written by ``tools/cache_features.py``.

    A cache is of use only for what it was made of. Its reader compares what it can see, the names,
    the transforms and ``TOKENS_VERSION``; what only the model knows, its backbone, weights and
    normalisation, ``FeatureCacheHook`` compares before training and tests.

    Args:
        folder: The folder.
        verify: Whether to read the cache once to find damage, see ``ShardFolder``.
        views: Which views to use; all of them if not given.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If it is not finished, damaged, of another version, or lacks a view.
    """

    def __init__(
        self, folder: str | Path, verify: bool = True, views: Sequence[str] | None = None
    ) -> None:
        if isinstance(views, str):
            raise ValueError(f"views must be a list of names, such as ['center'], got {views!r}")
        self._shards = ShardFolder(folder, 'features', verify)
        self.folder = self._shards.folder
        self.key: dict[str, Any] = self._shards.plan.key
        self.names = self._shards.plan.names
        self.grid = tuple(self._shards.plan.layout['grid'])
        self.channels: int = self._shards.plan.layout['channels']
        require_version(self.key, self.folder, TOKENS_VERSION)
        there = [view['name'] for view in self.key['views']]
        wanted = list(dict.fromkeys(there)) if views is None else list(views)
        if not wanted or not set(wanted) <= set(there):
            raise ValueError(
                f'token_cache {self.folder} has the views {there}, but {wanted} are wanted; run '
                'tools/cache_features.py with --views, and --out another folder'
            )
        self.views = [i for i, name in enumerate(there) if name in wanted]
        self._describe()

    def __len__(self) -> int:
        return len(self.names)

    def _describe(self) -> None:
        """Log what the tokens are, and warn of another timm."""
        made_with = self._shards.plan.made_with
        drawn = [self.key['views'][i]['name'] for i in self.views]
        text = (
            f'{self.folder}: tokens of {len(self)} images, views {drawn}, '
            f'{self.key.get("precision")}, made with {made_with}'
        )
        try:
            other = version('timm') != made_with.get('timm', version('timm'))
        except PackageNotFoundError:  # not needed to train on tokens
            other = False
        if other:
            text += f'; this is timm {version("timm")}, whose tokens may differ a little'
        print_log(text, logger='current', level=logging.WARNING if other else logging.INFO)

    def require(self, images: Mapping[str, str], pipeline: Sequence[dict | Callable]) -> None:
        """Raise a ``ValueError`` unless the cache fits a dataset.

        Args:
            images: Files of its images by name.
            pipeline: Its transforms.
        """
        self._shards.require(images)
        for number in self.views:
            view = self.key['views'][number]
            wanted = view_steps(pipeline, view['name'])
            found = differences(view['steps'], wanted, f'pipeline of view {view["name"]!r}')
            if found:
                raise ValueError(
                    f'token_cache {self.folder} was made of other images: {"; ".join(found)}. '
                    'Change the pipeline back, or run tools/cache_features.py with this config and '
                    '--out another folder'
                )

    def require_model(self, key: Mapping[str, Any]) -> None:
        """Raise a ``ValueError`` unless the cache was made by a model, given its ``model_key``."""
        found = differences({name: self.key[name] for name in key}, dict(key))
        if found:
            raise ValueError(
                f'token_cache {self.folder} was made by another model: {"; ".join(found)}. Change '
                'the config or the checkpoint, or run tools/cache_features.py with this config and '
                '--out another folder'
            )

    def draw_view(self) -> int:
        """Number of one of the views, by NumPy's random numbers if there are several."""
        if len(self.views) == 1:
            return self.views[0]
        return self.views[np.random.randint(len(self.views))]

    def tokens(self, name: str, view: int) -> BFloat16[Tensor, 'N C']:
        """Tokens of one view of an image, a copy."""
        file, row = self._shards.find(name)
        return file.get_slice('tokens')[row, view].clone()

    def file_shape(self, name: str) -> tuple[int, int]:
        """Height and width of the file of an image."""
        file, row = self._shards.find(name)
        height, width = file.get_slice('file_shape')[row].tolist()
        return height, width


def require_version(key: Mapping[str, Any], folder: Path, wanted: int) -> None:
    """Refuse what was made when the content meant something else."""
    if key.get('version') != wanted:
        raise ValueError(
            f'{folder} holds content of version {key.get("version")}, but this mmocl reads version '
            f'{wanted}; make it again in another folder'
        )


def cache_settings(value: CacheSettings, argument: str, *keys: str) -> dict:
    """Arguments of a cache from what a dataset's config gives: a folder, or a dict with more.

    Raises:
        ValueError: If it is neither.
    """
    if isinstance(value, str | Path):
        return {'folder': value}
    allowed = ('folder', *keys)
    if not isinstance(value, Mapping) or 'folder' not in value or not set(value) <= set(allowed):
        raise ValueError(f'{argument} must be a folder, or a dict of {allowed}, got {value!r}')
    return dict(value)
