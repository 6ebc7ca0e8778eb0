from __future__ import annotations

from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from PIL import Image

from mmocl.datasets.transforms.resize_crop import INTERPOLATIONS
from mmocl.registry import TRANSFORMS


@TRANSFORMS.register_module()
class ResizeWhole(BaseTransform):
    """Resize all of ``img`` and keep its aspect, for models that take pictures of any shape.

    The short side becomes ``size``; of a picture that is longer than ``max_ratio`` times its short
    side the long side becomes ``max_ratio * size``. Then both sides are rounded to multiples, which
    may change the aspect a little. Nothing is cut off, so ``crop`` is ``'squash'``.

    Args:
        size: Short side in pixels.
        multiple: Both sides become multiples of this many pixels, one at least.
        max_ratio: Longest side, in short ones of ``size``.
        interpolation: Resampling filter, antialiased.

    Raises:
        ValueError: If a number is less than 1, or the filter unknown.
    """

    def __init__(
        self,
        size: int,
        multiple: int = 1,
        max_ratio: float = 4.0,
        interpolation: str = 'bicubic',
    ) -> None:
        for key, value in {'size': size, 'multiple': multiple, 'max_ratio': max_ratio}.items():
            if value < 1:
                raise ValueError(f'{key} must be at least 1, got {value}')
        if interpolation not in INTERPOLATIONS:
            raise ValueError(
                f'interpolation must be one of {INTERPOLATIONS}, got {interpolation!r}'
            )
        self.size = size
        self.multiple = multiple
        self.max_ratio = max_ratio
        self.interpolation = interpolation

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Resize; see the class."""
        image = results['img']
        shape = self.shape(*image.shape[:2])
        if shape != image.shape[:2]:
            method = Image.Resampling[self.interpolation.upper()]
            image = np.asarray(Image.fromarray(image).resize(shape[::-1], method))
        results['img'] = image
        results['img_shape'] = shape
        results['crop'] = 'squash'
        return results

    def shape(self, height: int, width: int) -> tuple[int, int]:
        """Height and width that a picture is brought to."""
        scale = min(self.size / min(height, width), self.max_ratio * self.size / max(height, width))
        sides = (round(side * scale / self.multiple) for side in (height, width))
        rows, columns = (max(1, side) * self.multiple for side in sides)
        return rows, columns
