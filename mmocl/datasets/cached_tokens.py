from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mmengine.logging import print_log

from mmocl.datasets.cache_views import dropped_steps
from mmocl.datasets.feature_cache import CacheSettings, FeatureCache, cache_settings
from mmocl.datasets.transforms import (
    LoadImage,
    LoadObjectMasks,
    LoadPhoto,
    PackSlotInputs,
    ResizeCrop,
)


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
        self._test_mode = test_mode
        self._crop = next((step for step in steps if isinstance(step, ResizeCrop)), None)
        self._load = next((step for step in steps if isinstance(step, LoadImage)), None)
        self._upright = any(isinstance(step, LoadPhoto) for step in steps)
        self.steps = [s for s in steps if isinstance(s, LoadObjectMasks | PackSlotInputs)]

    def require(self, images: Mapping[str, str]) -> None:
        """Refuse a cache that does not fit, and warn of augmentation that it lacks."""
        self.cache.require(images, self._pipeline)
        drawn = [self.cache.key['views'][view]['name'] for view in self.cache.views]
        dropped = None if self._test_mode else dropped_steps(self._pipeline, drawn)
        if dropped is not None:
            print_log(
                f'token_cache {self.cache.folder}: {dropped}',
                logger='current',
                level=logging.WARNING,
            )

    def add(self, info: dict[str, Any], name: str) -> None:
        """Add the tokens of an image, and what the transforms would have said of it."""
        view = self.cache.draw_view()
        info['tokens'] = self.cache.tokens(name, view)
        info['ori_shape'] = self.cache.file_shape(name)
        if self._load is not None and self._load.frame is not None:
            self._load.add_frame(info)
        if self._upright:
            info['upright'] = True
        kind = self.cache.key['views'][view]['name']
        if self._crop is not None:
            cut = self._crop.crop
            info['crop'] = 'center' if cut == 'random' and kind != 'random' else cut
            info['img_shape'] = (self._crop.size, self._crop.size)
        if kind == 'flip':
            info['flip'] = True
