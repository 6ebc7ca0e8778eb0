"""Pictures with titles in rows and columns."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8

from mmocl.visualization.drawing import Picture, fit
from mmocl.visualization.lettering import INK, lettered, line_height, text_size
from mmocl.visualization.palette import WHITE

# Distances in pixels.
_MARGIN = 8
_FRAME = 2
_SWATCH = 10
TEXT = 13


def titled_grid(
    rows: Sequence[Sequence[Picture | None]],
    titles: Sequence[str] = (),
    labels: Sequence[str] = (),
    colors: UInt8[np.ndarray, 'R 3'] | None = None,
    tile: tuple[int, int] = (128, 128),
    gap: int = 6,
    group: int | None = None,
) -> Picture:
    """Arrange pictures in a grid on white, with a title over every column and a label a row.

    Args:
        rows: Pictures, row by row; each keeps its aspect, None leaves its place empty.
        titles: Title of every column; letters get smaller until it fits.
        labels: Text at the left of every row.
        colors: A colour a row, as a swatch beside its label and as a frame around its pictures.
        tile: Height and width of a picture's place in pixels.
        gap: White space between them in pixels.
        group: After so many columns the gap is three times as wide.

    Raises:
        ValueError: If there are no pictures, or titles, labels or colours fit not their number.
    """
    num_columns = max((len(row) for row in rows), default=0)
    if num_columns == 0:
        raise ValueError('a grid needs at least one picture, got none')
    for name, given, wanted in (
        ('titles', titles, num_columns),
        ('labels', labels, len(rows)),
        ('colors', () if colors is None else colors, len(rows)),
    ):
        if len(given) not in (0, wanted):
            raise ValueError(
                f'a grid of {len(rows)} rows and {num_columns} columns needs {wanted} '
                f'{name} or none, got {len(given)}'
            )
    height, width = tile
    wide = [0 if group is None else 2 * gap * (j // group) for j in range(num_columns)]
    swatch = 0 if colors is None else _SWATCH + gap
    label_width = max((text_size(text, TEXT)[1] for text in labels), default=0)
    left = _MARGIN + swatch + (label_width + 2 * gap if label_width else 0)
    top = _MARGIN + (line_height(TEXT) + 4 if titles else 0)
    sheet = np.full(
        (
            top + len(rows) * (height + gap) - gap + _MARGIN,
            left + num_columns * (width + gap) - gap + wide[-1] + _MARGIN,
            3,
        ),
        WHITE,
        np.uint8,
    )
    columns = [left + j * (width + gap) + wide[j] for j in range(num_columns)]
    for i, row in enumerate(rows):
        y = top + i * (height + gap)
        if colors is not None:
            sheet[y : y + height, _MARGIN : _MARGIN + _SWATCH] = colors[i]
        for x, picture in zip(columns, row, strict=False):
            if picture is None:
                continue
            if colors is not None:
                sheet[y - _FRAME : y + height + _FRAME, x - _FRAME : x + width + _FRAME] = colors[i]
            sheet[y : y + height, x : x + width] = fit(picture, height, width)
    for i, text in enumerate(labels):
        y = top + i * (height + gap) + (height - text_size(text, TEXT)[0]) // 2
        sheet = lettered(sheet, text, (_MARGIN + swatch, y), TEXT)
    for x, text in zip(columns, titles, strict=False):
        size = next((s for s in range(TEXT, 6, -1) if text_size(text, s)[1] <= width + gap), 6)
        start = x + (width - text_size(text, size)[1]) // 2
        sheet = lettered(sheet, text, (max(0, start), _MARGIN), size)
    return sheet


def headed(picture: Picture, text: str) -> Picture:
    """A line of text over a picture, which becomes wider if it must."""
    height, width = line_height(TEXT + 2) + _MARGIN, text_size(text, TEXT + 2)[1] + 2 * _MARGIN
    page = np.full((height + picture.shape[0], max(width, picture.shape[1]), 3), WHITE, np.uint8)
    page[height:, : picture.shape[1]] = picture
    return lettered(page, text, (_MARGIN, _MARGIN), TEXT + 2, INK)


def stacked(pictures: Sequence[Picture]) -> Picture:
    """Pictures below each other on white."""
    page = np.full(
        (sum(len(one) for one in pictures), max(one.shape[1] for one in pictures), 3),
        WHITE,
        np.uint8,
    )
    top = 0
    for one in pictures:
        page[top : top + len(one), : one.shape[1]] = one
        top += len(one)
    return page
