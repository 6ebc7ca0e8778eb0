"""What takes the place of decoding images in an ``ObjectDataset``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmocl.datasets.feature_cache import FeatureCache, cache_settings
from mmocl.datasets.image_cache import ImageCache
from mmocl.datasets.transforms import LoadImage, LoadObjectMasks, PackSlotInputs, ResizeCrop

CacheSettings = str | Path | Mapping[str, Any]


class CachedTokens:
    """Tokens of a ``FeatureCache`` as inputs.

    Args:
        token_cache: A folder, or a dict of ``folder``, ``verify`` and ``views``.
        pipeline: The dataset's transforms, as configs.
        steps: The same, built.
        test_mode: Whether only the view ``'center'`` is used; else every access draws one.
    """

    def __init__(
        self,
        token_cache: CacheSettings,
        pipeline: Sequence[dict | Callable],
        steps: Sequence[Callable],
        test_mode: bool,
    ) -> None:
        settings = cache_settings(token_cache, 'token_cache', 'verify', 'views')
        if test_mode:
            settings['views'] = ['center']
        self.cache = FeatureCache(**settings)
        self._pipeline = pipeline
        self._crop = next((step for step in steps if isinstance(step, ResizeCrop)), None)
        self._load = next((step for step in steps if isinstance(step, LoadImage)), None)
        self.steps = [s for s in steps if isinstance(s, LoadObjectMasks | PackSlotInputs)]

    def require(self, names: Sequence[str]) -> None:
        """Refuse a cache that does not fit."""
        self.cache.require(names, self._pipeline)

    def add(self, info: dict[str, Any], name: str) -> None:
        """Add the tokens of an image, and what the transforms would have said of it."""
        views = self.cache.views
        view = views[0] if len(views) == 1 else views[np.random.randint(len(views))]
        info['tokens'] = self.cache.tokens(name, view)
        info['ori_shape'] = self.cache.file_shape(name)
        if self._load is not None and self._load.frame is not None:
            self._load.add_frame(info)
        kind = self.cache.key['views'][view]['name']
        if self._crop is not None:
            cut = self._crop.crop
            info['crop'] = 'center' if cut == 'random' != kind else cut
            info['img_shape'] = (self._crop.size, self._crop.size)
        if kind == 'flip':
            info['flip'] = True


class CachedImages:
    """Images of an ``ImageCache`` as the beginning of the pipeline.

    Args:
        image_cache: A folder, or a dict of ``folder`` and ``verify``.
        pipeline: The dataset's transforms, as configs.
        steps: The same, built.
    """

    def __init__(
        self,
        image_cache: CacheSettings,
        pipeline: Sequence[dict | Callable],
        steps: Sequence[Callable],
    ) -> None:
        self.cache = ImageCache(**cache_settings(image_cache, 'image_cache', 'verify'))
        self._pipeline = pipeline
        self._load = next((step for step in steps if isinstance(step, LoadImage)), None)
        # ResizeCrop stays: what has its size already it only crops.
        self.steps = [step for step in steps if not isinstance(step, LoadImage)]

    def require(self, names: Sequence[str]) -> None:
        """Refuse a cache that does not fit."""
        self.cache.require(names, self._pipeline)

    def add(self, info: dict[str, Any], name: str) -> None:
        """Add the resized image of an entry; its ground truth keeps the frame of the file."""
        info['img'] = self.cache.image(name)
        info['ori_shape'] = self.cache.file_shape(name)
        if self._load is not None and self._load.frame is not None:
            self._load.add_frame(info)
        info['img_shape'] = info['img'].shape[:2]


def cached_inputs(
    token_cache: CacheSettings | None,
    image_cache: CacheSettings | None,
    pipeline: Sequence[dict | Callable],
    steps: Sequence[Callable],
    test_mode: bool,
) -> CachedTokens | CachedImages | None:
    """Open the cache that a dataset names, if any.

    Raises:
        ValueError: If it names two.
    """
    if token_cache is not None and image_cache is not None:
        raise ValueError(
            f'expected token_cache or image_cache, got both: {token_cache}, {image_cache}'
        )
    if token_cache is not None:
        return CachedTokens(token_cache, pipeline, steps, test_mode)
    if image_cache is not None:
        return CachedImages(image_cache, pipeline, steps)
    return None
