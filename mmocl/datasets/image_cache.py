from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from mmocl.datasets.cache_views import complete_step
from mmocl.datasets.feature_cache import require_version
from mmocl.datasets.shards import ShardFolder, differences


class ImageCache:
    """Images resized once, written by ``tools/cache_images.py``: no JPEG is decoded in training.

    Args:
        folder: The folder.
        verify: Whether to read the cache once to find damage, see ``ShardFolder``.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If it is not finished, damaged, or of another version.
    """

    def __init__(self, folder: str | Path, verify: bool = True) -> None:
        self._shards = ShardFolder(folder, 'images', verify)
        self.folder = self._shards.folder
        self.key: dict[str, Any] = self._shards.plan.key
        require_version(self.key, self.folder)

    def require(self, names: Sequence[str], pipeline: Sequence[dict | Callable]) -> None:
        """Raise a ``ValueError`` unless the cache fits a dataset.

        Args:
            names: Names of its images.
            pipeline: Its transforms.
        """
        self._shards.require(names)
        found = differences(self.key['steps'], resize_steps(pipeline), 'pipeline')
        if found:
            raise ValueError(
                f'image_cache {self.folder} was made of other transforms: {"; ".join(found)}. '
                'Change the pipeline back, or run tools/cache_images.py with this config and --out '
                'another folder'
            )

    def image(self, name: str) -> UInt8[np.ndarray, 'H W 3']:
        """The resized image, mapped: its pixels are read where they are used."""
        file, row = self._shards.find(name)
        start, stop = (int(file.row('offset', i)) for i in (row, row + 1))
        height, width = file.row('shape', row).tolist()
        return file.span('pixels', start, stop).reshape(height, width, 3)

    def file_shape(self, name: str) -> tuple[int, int]:
        """Height and width of the file of an image."""
        file, row = self._shards.find(name)
        height, width = file.row('file_shape', row).tolist()
        return height, width


def resize_steps(pipeline: Sequence[dict | Callable]) -> list[dict[str, Any]]:
    """What an image cache holds of a pipeline: ``LoadImage`` and the resize of ``ResizeCrop``.

    The whole image is decoded, whatever ``min_side`` is: it is done only once.

    Returns:
        Configs of both, without ``min_side``, and ``crop`` either ``'squash'`` or, since all other
        crops are cut of the same image, ``'center'``.

    Raises:
        ValueError: If the pipeline does not begin with these two.
    """
    steps = [complete_step(step) for step in pipeline]
    images = [step for step in steps if step['type'] != 'LoadObjectMasks']
    if [step['type'] for step in images[:2]] != ['LoadImage', 'ResizeCrop']:
        raise ValueError(
            'image_cache takes the place of LoadImage and of the resize behind it; expected a '
            f'pipeline that begins with LoadImage and ResizeCrop, got {[s["type"] for s in steps]}'
        )
    load, resize = images[:2]
    del load['min_side']
    resize['crop'] = 'squash' if resize['crop'] == 'squash' else 'center'
    return [load, resize]
