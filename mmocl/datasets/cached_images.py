from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mmocl.datasets.feature_cache import CacheSettings, cache_settings
from mmocl.datasets.image_cache import ImageCache
from mmocl.datasets.transforms import LoadImage, LoadPhoto


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
        self.steps = [step for step in steps if not isinstance(step, LoadImage | LoadPhoto)]

    def require(self, images: Mapping[str, str]) -> None:
        """Refuse a cache that does not fit."""
        self.cache.require(images, self._pipeline)

    def add(self, info: dict[str, Any], name: str) -> None:
        """Add the resized image of an entry; its ground truth keeps the frame of the file."""
        info['img'] = self.cache.image(name)
        info['ori_shape'] = self.cache.file_shape(name)
        if self._load is not None and self._load.frame is not None:
            self._load.add_frame(info)
        info['img_shape'] = info['img'].shape[:2]
