"""The EXIF orientation of photographs, which some loaders obey."""

import numpy as np
from jaxtyping import Shaped
from PIL import ExifTags, Image

# How the pixels of a file are turned to stand upright, by EXIF orientation: transposed first,
# then flipped along these axes of (height, width).
_TURNS: dict[int, tuple[bool, tuple[int, ...]]] = {
    1: (False, ()),
    2: (False, (-1,)),
    3: (False, (-2, -1)),
    4: (False, (-2,)),
    5: (True, ()),
    6: (True, (-1,)),
    7: (True, (-2, -1)),
    8: (True, (-2,)),
}


def read_orientation(path: str) -> int:
    """EXIF orientation of an image file, 1 (upright) if it has none."""
    with Image.open(path) as image:  # reads the header only
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    return orientation if orientation in _TURNS else 1


def turned(maps: Shaped[np.ndarray, '*M H W'], orientation: int) -> Shaped[np.ndarray, '*M _ _']:
    """Turn maps that fit the pixels of a file as a loader that obeys the orientation turns it."""
    transposed, flipped = _TURNS[orientation]
    maps = np.swapaxes(maps, -1, -2) if transposed else maps
    return np.ascontiguousarray(np.flip(maps, flipped)) if flipped else maps
