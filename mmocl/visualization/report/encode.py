"""Pictures as data URIs, which a page can hold."""

import base64
from io import BytesIO

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image

from mmocl.visualization.palette import UNSEEN
from mmocl.visualization.sample_maps import tile_size

# Longest side of a photograph on the page, and below which size no JPEG is made.
_MAX_SIDE = 320
_MIN_JPEG = 96
#: Ids of a map: grey levels.
MAX_IDS = 256


def picture_uri(image: UInt8[np.ndarray, 'H W 3'], quality: int = 82) -> str:
    """A picture of moderate size: JPEG, or PNG if it is so small that JPEG would blur it."""
    picture = Image.fromarray(image)
    if max(image.shape[:2]) > _MAX_SIDE:
        height, width = tile_size(image, _MAX_SIDE)
        picture = picture.resize((width, height), Image.Resampling.LANCZOS)
    if max(image.shape[:2]) < _MIN_JPEG:
        return _uri(picture, 'png', optimize=True)
    return _uri(picture, 'jpeg', quality=quality, optimize=True)


def level_of(num_ids: int) -> int:
    """Distance of the grey levels of neighbouring ids: as large as possible.

    Browsers that protect from fingerprinting change pixels by one level.

    Raises:
        ValueError: If there are more ids than grey levels.
    """
    if num_ids > MAX_IDS:
        raise ValueError(f'expected at most {MAX_IDS} ids in the map of an image, got {num_ids}')
    return 255 // max(1, num_ids - 1)


def ids_uri(ids: Int[np.ndarray, 'H W'], num_ids: int) -> str:
    """A map of ids as a grey PNG; the level of id i is i times ``level_of(num_ids)``.

    Ids below 0 and ``UNSEEN``, what belongs to nobody, become the last id.
    """
    ids = np.where((ids < 0) | (ids == UNSEEN), num_ids - 1, ids)
    return _uri(Image.fromarray((ids * level_of(num_ids)).astype(np.uint8)), 'png', optimize=True)


def _uri(picture: Image.Image, kind: str, **options: int | bool) -> str:
    buffer = BytesIO()
    picture.save(buffer, kind, **options)
    return f'data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}'
