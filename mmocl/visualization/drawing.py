"""Pictures of masks as pure functions on arrays."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image

from mmocl.visualization.palette import palette

Picture = UInt8[np.ndarray, '_ _ 3']


def colorize(ids: Int[np.ndarray, 'H W'], background: bool = False) -> Picture:
    """Give every id its colour.

    Args:
        ids: Segment ids; negative pixels (ignored ones) become grey.
        background: Draw id 0 black.
    """
    colors = palette(int(ids.max(initial=0)) + 1)
    if background:
        colors = np.concatenate([np.zeros((1, 3), np.uint8), colors])
    picture = colors[np.clip(ids, 0, None)]
    picture[ids < 0] = 128
    return picture


def overlay(image: Picture, ids: Int[np.ndarray, 'H W'], opacity: float = 0.6) -> Picture:
    """Blend the colours of the segments over an image, with dark lines between segments."""
    mixed = (1 - opacity) * image + opacity * colorize(ids)
    border = np.zeros(ids.shape, bool)
    border[:, 1:] |= ids[:, 1:] != ids[:, :-1]
    border[1:] |= ids[1:] != ids[:-1]
    mixed[border] *= 0.3
    return mixed.astype(np.uint8)


def contact_sheet(rows: Sequence[Sequence[Picture]], tile: int = 128, gap: int = 4) -> Picture:
    """Arrange pictures of any size as rows of square tiles on white.

    Args:
        rows: Pictures, row by row.
        tile: Side of a tile in pixels; small pictures are enlarged without smoothing.
        gap: White space between tiles in pixels.
    """
    num_columns = max(len(row) for row in rows)
    side = tile + gap
    sheet = np.full((len(rows) * side - gap, num_columns * side - gap, 3), 255, np.uint8)
    for i, row in enumerate(rows):
        for j, picture in enumerate(row):
            filters = Image.Resampling
            method = filters.NEAREST if min(picture.shape[:2]) < tile else filters.BICUBIC
            resized = Image.fromarray(picture).resize((tile, tile), method)
            sheet[i * side : i * side + tile, j * side : j * side + tile] = np.asarray(resized)
    return sheet
