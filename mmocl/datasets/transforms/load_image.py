from __future__ import annotations

from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from PIL import Image

from mmocl.registry import TRANSFORMS


class CorruptImageError(ValueError):
    """An image file that exists but cannot be decoded completely."""


def read_image(path: str, min_side: int | None = None) -> tuple[Image.Image, tuple[int, int]]:
    """Decode an image as RGB, without applying its EXIF orientation (masks do not either).

    Args:
        path: Image file.
        min_side: If given, a JPEG may be decoded at 1/2, 1/4 or 1/8 of its size, as long as its
            short side keeps at least this many pixels.

    Returns:
        The image, and the (height, width) of the file.

    Raises:
        FileNotFoundError: If there is no such file.
        CorruptImageError: If the file cannot be decoded.
    """
    try:
        with Image.open(path) as image:
            width, height = image.size
            if min_side is not None:
                factor = min_side / min(width, height)
                # Only JPEG acts on this; rounding up keeps the short side above the target.
                image.draft(None, (int(np.ceil(width * factor)), int(np.ceil(height * factor))))
            return image.convert('RGB'), (height, width)
    except FileNotFoundError:
        raise FileNotFoundError(f'no image at {path}') from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise CorruptImageError(f'cannot decode image {path}: {error}') from error


@TRANSFORMS.register_module()
class LoadImage(BaseTransform):
    """Read ``img_path`` as an RGB uint8 array ``img``; sets ``ori_shape`` and ``img_shape``.

    Args:
        min_side: If given, JPEGs are decoded at a reduced scale whose short side still has at least
            this many pixels: several times faster, for training.

    Raises:
        ValueError: If ``min_side`` is not positive.
    """

    def __init__(self, min_side: int | None = None) -> None:
        if min_side is not None and min_side < 1:
            raise ValueError(f'min_side must be at least 1 or None, got {min_side}')
        self.min_side = min_side

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add the image; see the class."""
        image, ori_shape = read_image(results['img_path'], self.min_side)
        results['img'] = np.asarray(image)
        results['ori_shape'] = ori_shape
        results['img_shape'] = results['img'].shape[:2]
        return results
