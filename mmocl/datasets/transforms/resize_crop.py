from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from mmcv.transforms import BaseTransform
from PIL import Image
from torch.nn import functional

from mmocl.registry import TRANSFORMS

CROPS = ('center', 'random', 'squash')
INTERPOLATIONS = ('nearest', 'bilinear', 'bicubic')
BACKENDS = ('pillow', 'torch')


@TRANSFORMS.register_module()
class ResizeCrop(BaseTransform):
    """Turn ``img`` into a square; records which in ``crop``. Ground truth is left as it is.

    Resizing is antialiased; the long side and the centre round as torchvision's ``Resize`` and
    ``CenterCrop`` do.

    Args:
        size: Side of the square in pixels.
        crop: ``'center'`` and ``'random'`` bring the short side to ``size`` and cut a square;
            ``'squash'`` brings both sides to ``size``, ignoring the aspect ratio.
        interpolation: Resampling filter.
        backend: ``'pillow'``, or ``'torch'`` for training: the same filter, whose rounding moves
            some pixels by a level of 255 or two, and faster (``benchmarks/loader.py``). It has no
            ``'nearest'``.

    Raises:
        ValueError: If an argument is none of these.
    """

    def __init__(
        self,
        size: int,
        crop: str = 'center',
        interpolation: str = 'bicubic',
        backend: str = 'pillow',
    ) -> None:
        if size < 1:
            raise ValueError(f'size must be at least 1, got {size}')
        if crop not in CROPS:
            raise ValueError(f'crop must be one of {CROPS}, got {crop!r}')
        if interpolation not in INTERPOLATIONS:
            raise ValueError(
                f'interpolation must be one of {INTERPOLATIONS}, got {interpolation!r}'
            )
        if backend not in BACKENDS or (backend == 'torch' and interpolation == 'nearest'):
            raise ValueError(
                f"backend must be one of {BACKENDS}, with interpolation='nearest' only 'pillow', "
                f'got backend={backend!r} and interpolation={interpolation!r}'
            )
        self.size = size
        self.crop = crop
        self.interpolation = interpolation
        self.backend = backend

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Resize and crop; see the class."""
        image = self.resized(results['img'])
        height, width = image.shape[:2]
        left, top = self._offset(width - self.size), self._offset(height - self.size)
        results['img'] = image[top : top + self.size, left : left + self.size]
        results['img_shape'] = (self.size, self.size)
        results['crop'] = self.crop
        return results

    def resized(self, image: UInt8[np.ndarray, 'H W 3']) -> UInt8[np.ndarray, '_ _ 3']:
        """The image before it is cropped; one that has the size is left as it is."""
        height, width = image.shape[:2]
        if self.crop == 'squash':
            wanted = (self.size, self.size)
        else:
            wanted = resized_shape(height, width, self.size)
        if (height, width) == wanted:
            return image
        if self.backend == 'torch':
            return _resize_by_torch(image, wanted, self.interpolation)
        method = Image.Resampling[self.interpolation.upper()]
        return np.asarray(Image.fromarray(image).resize(wanted[::-1], method))

    def _offset(self, slack: int) -> int:
        """First pixel of the square along an axis with ``slack`` pixels too many."""
        return np.random.randint(slack + 1) if self.crop == 'random' else center_offset(slack)


def _resize_by_torch(
    image: UInt8[np.ndarray, 'H W 3'], shape: tuple[int, int], mode: str
) -> UInt8[np.ndarray, '_ _ 3']:
    """Resize bytes with channels last, for which PyTorch has a kernel of its own."""
    # A decoded image cannot be written to, of which PyTorch would warn.
    writable = image if image.flags.writeable else image.copy()
    channels_first = torch.from_numpy(writable).permute(2, 0, 1)[None]
    out = functional.interpolate(channels_first, shape, mode=mode, antialias=True)
    return out[0].permute(1, 2, 0).contiguous().numpy()


def resized_shape(height: int, width: int, size: int) -> tuple[int, int]:
    """Height and width after the short side is brought to ``size`` pixels."""
    short = min(height, width)
    return size * height // short, size * width // short


def center_offset(slack: int) -> int:
    """First pixel of the centre square along an axis with ``slack`` pixels too many."""
    return round(slack / 2)
