from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from mmcv.transforms import BaseTransform
from PIL import ExifTags, Image

from mmocl.datasets.transforms.load_image import CorruptImageError
from mmocl.datasets.transforms.orientation import turned
from mmocl.registry import TRANSFORMS

#: Pixels of an image that are read without being asked twice: more than any common camera's.
MAX_PIXELS = 200_000_000
#: Files that are looked for in folders of pictures.
PHOTO_SUFFIXES = ('.bmp', '.gif', '.jpeg', '.jpg', '.png', '.tif', '.tiff', '.webp')

# Pillow's own limit is one variable of the process.
_LIMIT = threading.Lock()


def read_photo(path: str | Path, max_pixels: int | None = MAX_PIXELS) -> UInt8[np.ndarray, 'H W 3']:
    """Read any image file as a person sees it: upright, in 8-bit RGB.

    The EXIF orientation is applied. Transparent pixels are laid on white. 16 bits of grey are
    scaled to 8, 65535 to 255, and of 16-bit colours the upper 8 bits are taken. CMYK is converted
    without a colour profile. Of an animation or a file of several pages this is the first one.
    Colour profiles are not applied.

    Args:
        path: Image file, of any format that Pillow reads.
        max_pixels: Most pixels that are read; the header tells before anything is decoded. None:
            any number.

    Raises:
        FileNotFoundError: If there is no such file.
        CorruptImageError: If it cannot be decoded, has more pixels than ``max_pixels``, or values
            that do not say which of them is white (floats, 32-bit integers).
        ValueError: If ``max_pixels`` is less than 1.
    """
    return _read(path, max_pixels, None)[0]


def is_photo(path: Path) -> bool:
    """Whether a path in a folder of pictures is one, by its name.

    Hidden files are none: macOS leaves '._photo.jpg' beside every 'photo.jpg'.
    """
    hidden = path.name.startswith('.')
    return path.suffix.lower() in PHOTO_SUFFIXES and not hidden and path.is_file()


def check_header(path: str | Path) -> None:
    """Refuse a file that is no image, or a PNG with a wrong checksum; no pixel is decoded.

    Raises:
        CorruptImageError: If it is none.
    """
    try:
        with _no_limit_of_pillow(), Image.open(path) as image:
            image.verify()
    except Exception as error:  # as in reading
        raise CorruptImageError(f'cannot decode image {path}: {error}') from error


@TRANSFORMS.register_module()
class LoadPhoto(BaseTransform):
    """Read ``img_path`` by :func:`read_photo`; sets ``ori_shape``, ``img_shape``, ``upright``.

    Takes the place of ``LoadImage`` for pictures without annotations. Where masks belong to files
    it does not: they fit the pixels as they are stored, not the upright picture.

    Args:
        min_side: If given, JPEGs are decoded at 1/2, 1/4 or 1/8 of their size, see ``LoadImage``.
        max_pixels: See :func:`read_photo`.

    Raises:
        ValueError: If ``min_side`` or ``max_pixels`` is less than 1.
    """

    def __init__(self, min_side: int | None = None, max_pixels: int | None = MAX_PIXELS) -> None:
        if min_side is not None and min_side < 1:
            raise ValueError(f'min_side must be at least 1 or None, got {min_side}')
        require_limit(max_pixels)
        self.min_side = min_side
        self.max_pixels = max_pixels

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add the image; see the class."""
        image, shape = _read(results['img_path'], self.max_pixels, self.min_side)
        results['img'] = image
        results['ori_shape'] = shape
        results['img_shape'] = image.shape[:2]
        results['upright'] = True
        return results


def require_pixels(path: str | Path, shape: tuple[int, int], max_pixels: int | None) -> None:
    """Refuse an image of too many pixels.

    Raises:
        CorruptImageError: If it has more than ``max_pixels``.
    """
    height, width = shape
    if max_pixels is not None and height * width > max_pixels:
        raise CorruptImageError(
            f'{path} has {width} x {height} = {height * width:,} pixels; expected at most '
            f'{max_pixels:,} (max_pixels=None reads any number; on a command line --max-pixels 0)'
        )


def require_limit(max_pixels: int | None) -> None:
    """Refuse a limit that no image keeps.

    Raises:
        ValueError: If it is less than 1.
    """
    if max_pixels is not None and max_pixels < 1:
        raise ValueError(f'max_pixels must be at least 1 or None, got {max_pixels}')


def _read(
    path: str | Path, max_pixels: int | None, min_side: int | None
) -> tuple[UInt8[np.ndarray, 'H W 3'], tuple[int, int]]:
    """The upright image, and the (height, width) of the file when it stands upright."""
    require_limit(max_pixels)
    try:
        with _no_limit_of_pillow(), Image.open(path) as image:
            width, height = image.size
            require_pixels(path, (height, width), max_pixels)
            if min_side is not None:
                factor = min_side / min(width, height)
                # Only JPEG acts on this; rounding up keeps the short side above the target.
                image.draft(None, (int(np.ceil(width * factor)), int(np.ceil(height * factor))))
            image.load()
            orientation = _orientation(image)
            pixels = _to_rgb(image)
    except FileNotFoundError:
        raise FileNotFoundError(f'no image at {path}') from None
    except CorruptImageError:
        raise
    except Exception as error:  # decoders raise anything for damaged files
        raise CorruptImageError(f'cannot decode image {path}: {error}') from error
    # 1 for TIFF files, which Pillow turns itself.
    if orientation >= 5:
        height, width = width, height
    upright = turned(pixels.transpose(2, 0, 1), orientation).transpose(1, 2, 0)
    return np.ascontiguousarray(upright), (height, width)


def _orientation(image: Image.Image) -> int:
    """EXIF orientation of a decoded image; 1 (upright) if there is none that can be read."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # a damaged header does not spoil the picture
        return 1
    return orientation if orientation in range(1, 9) else 1


def _to_rgb(image: Image.Image) -> UInt8[np.ndarray, 'H W 3']:
    """Pixels of a decoded image as 8-bit RGB; see :func:`read_photo`."""
    if image.mode.startswith('I') or image.mode == 'F':
        values = np.asarray(image)
        if image.mode == 'F' or values.min() < 0 or values.max() > 65535:
            raise ValueError(
                f'its pixels are {values.dtype} from {values.min()} to {values.max()}; expected 8 '
                'or 16 bits'
            )
        grey = ((values.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.has_transparency_data:
        image = image.convert('RGBA')
        image = Image.alpha_composite(Image.new('RGBA', image.size, 'white'), image)
    return np.asarray(image.convert('RGB'))


@contextmanager
def _no_limit_of_pillow() -> Iterator[None]:
    """Switch off Pillow's limit of pixels and its warnings, for ours is checked in its place."""
    with _LIMIT, warnings.catch_warnings():
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        # As of truncated EXIF data, which do no harm.
        warnings.simplefilter('ignore', UserWarning)
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit
