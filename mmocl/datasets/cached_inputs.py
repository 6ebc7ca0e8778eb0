from __future__ import annotations

from collections.abc import Callable, Sequence

from mmocl.datasets.cached_images import CachedImages
from mmocl.datasets.cached_tokens import CachedTokens
from mmocl.datasets.feature_cache import CacheSettings


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
