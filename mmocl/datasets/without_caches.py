from collections.abc import Mapping
from typing import Any


def without_caches(dataset: Mapping[str, Any]) -> dict[str, Any]:
    """The config of a dataset whose images are read from their files, for pictures of a few."""
    caches = {'token_cache', 'image_cache'} & dataset.keys()
    return {**dataset, **dict.fromkeys(caches)}
