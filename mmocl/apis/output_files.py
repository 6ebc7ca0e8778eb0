"""Names of what is written for pictures, and the pictures drawn over them."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

# The longest side that the format of JPEG has numbers for.
_JPEG_SIDE = 65_535


def output_names(names: Sequence[str]) -> list[str]:
    """Names without suffix for the files of pictures, in the subfolders of these.

    A picture is named by its stem; pictures that differ in their suffix, or in upper and lower
    case, only, keep their suffix as a part of the name, so that none overwrites another; so does
    one whose files would have the name of a folder of others.

    Args:
        names: Names of pictures, paths with slashes.

    Returns:
        As many names, different wherever the given ones are.
    """
    stems = [str(Path(name).with_suffix('')) for name in names]
    different = dict.fromkeys(zip(names, stems, strict=True))
    count = Counter(stem.lower() for _, stem in different)
    chosen = [
        stem if count[stem.lower()] == 1 else name for name, stem in zip(names, stems, strict=True)
    ]
    # A picture 'a.jpg/b.png' lies in a folder, which cannot be the file of 'a' too.
    folders = {str(parent).lower() for name in names for parent in Path(name).parents}
    written = ('.jpg', '.png', '.mp4')
    chosen = [
        name if any(f'{stem}{suffix}'.lower() in folders for suffix in written) else stem
        for name, stem in zip(names, chosen, strict=True)
    ]
    # Now 'a.jpg' of 'a.jpg' and 'a.png' may have met the stem of 'a.jpg.png'.
    different = dict.fromkeys(zip(names, chosen, strict=True))
    count = Counter(name.lower() for _, name in different)
    if max(count.values(), default=1) > 1:
        chosen = list(names)
    return chosen


def write_overlay(path: Path, image: UInt8[np.ndarray, 'H W 3']) -> Path:
    """Write a drawn picture: JPEG, or PNG if it is too long for that.

    Args:
        path: File to write, without suffix.
        image: RGB picture.

    Returns:
        The file.
    """
    suffix = '.jpg' if max(image.shape) <= _JPEG_SIDE else '.png'
    file = path.with_name(path.name + suffix)
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(file, quality=92, subsampling=0)
    return file
