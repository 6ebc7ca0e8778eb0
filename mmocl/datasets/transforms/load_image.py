from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from PIL import Image

from mmocl.registry import TRANSFORMS


class CorruptImageError(ValueError):
    """An image file that exists but cannot be decoded completely, or is refused."""


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
        min_side: If given, JPEGs are decoded at 1/2, 1/4 or 1/8 of their size, the smallest whose
            short side still has at least this many pixels: faster, for training. The
            decoder then averages blocks of pixels, where a resize of the whole image would weigh
            them by its filter, so that pixels differ a little from those of tests.
        frame: Part of every file that is the image, as (top, left, bottom, right) in pixels. All
            that follows, ground truth and scores included, acts as if the file held no more.

    Raises:
        ValueError: If ``min_side`` is not positive, ``frame`` is not such a box or both are given;
            when an image is smaller than the frame.
    """

    def __init__(self, min_side: int | None = None, frame: Sequence[int] | None = None) -> None:
        if min_side is not None and min_side < 1:
            raise ValueError(f'min_side must be at least 1 or None, got {min_side}')
        if frame is not None and not (
            len(frame) == 4 and 0 <= frame[0] < frame[2] and 0 <= frame[1] < frame[3]
        ):
            raise ValueError(
                f'frame must be (top, left, bottom, right) with 0 <= top < bottom and 0 <= left < '
                f'right, or None, got {frame}'
            )
        if min_side is not None and frame is not None:
            raise ValueError(
                f'frame {frame} counts pixels of the file, but min_side={min_side} decodes fewer; '
                'expected only one of the two'
            )
        self.min_side = min_side
        self.frame = None if frame is None else tuple(frame)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add the image; see the class."""
        image, ori_shape = read_image(results['img_path'], self.min_side)
        results['img'] = np.asarray(image)
        results['ori_shape'] = ori_shape
        self.cut(results)
        return results

    def cut(self, results: dict[str, Any]) -> None:
        """Cut the frame, if there is one, out of an image that was read."""
        if self.frame is not None:
            self.add_frame(results)
            top, left, bottom, right = self.frame
            results['img'] = results['img'][top:bottom, left:right]
        results['img_shape'] = results['img'].shape[:2]

    def add_frame(self, results: dict[str, Any]) -> None:
        """Say that the image is the frame, and not the file, whose size is in ``ori_shape``."""
        assert self.frame is not None
        top, left, bottom, right = self.frame
        height, width = results['ori_shape']
        if bottom > height or right > width:
            raise ValueError(
                f'frame {self.frame} (top, left, bottom, right) of LoadImage does not lie in '
                f'{results["img_path"]} of {height}x{width} (height x width)'
            )
        results['frame'] = self.frame
        results['file_shape'] = (height, width)
        results['ori_shape'] = (bottom - top, right - left)
