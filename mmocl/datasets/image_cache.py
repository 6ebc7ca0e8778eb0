from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from mmocl.datasets.cache_views import complete_step
from mmocl.datasets.feature_cache import require_version
from mmocl.datasets.shards import ShardFolder, differences

# Raised when the code changes what resized images are; caches of another version are refused.
PIXELS_VERSION = 1


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
        require_version(self.key, self.folder, PIXELS_VERSION)

    def require(self, images: Mapping[str, str], pipeline: Sequence[dict | Callable]) -> None:
        """Raise a ``ValueError`` unless the cache fits a dataset.

        Args:
            images: Files of its images by name.
            pipeline: Its transforms.
        """
        self._shards.require(images)
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
        start, stop = file.get_slice('offset')[row : row + 2].tolist()
        height, width = file.get_slice('shape')[row].tolist()
        image = file.get_slice('pixels')[start:stop].view(height, width, 3).numpy()
        image.flags.writeable = False  # the same memory every time
        return image

    def file_shape(self, name: str) -> tuple[int, int]:
        """Height and width of the file of an image."""
        file, row = self._shards.find(name)
        height, width = file.get_slice('file_shape')[row].tolist()
        return height, width


def resize_steps(pipeline: Sequence[dict | Callable]) -> list[dict[str, Any]]:
    """What an image cache holds of a pipeline: ``LoadImage`` or ``LoadPhoto``, and the resize.

    The whole image is decoded, whatever ``min_side`` is: it is done only once.

    Returns:
        Configs of both, without ``min_side``, and ``crop`` either ``'squash'`` or, since all other
        crops are cut of the same image, ``'center'``.

    Raises:
        ValueError: If the pipeline does not begin with these two.
    """
    steps = [complete_step(step) for step in pipeline]
    images = [step for step in steps if step['type'] != 'LoadObjectMasks']
    types = [step['type'] for step in images[:2]]
    if types not in (['LoadImage', 'ResizeCrop'], ['LoadPhoto', 'ResizeCrop']):
        raise ValueError(
            'image_cache takes the place of LoadImage and of the resize behind it; expected a '
            'pipeline that begins with LoadImage (or LoadPhoto) and ResizeCrop, got '
            f'{[s["type"] for s in steps]}'
        )
    load, resize = images[:2]
    del load['min_side']
    resize['crop'] = 'squash' if resize['crop'] == 'squash' else 'center'
    return [load, resize]
