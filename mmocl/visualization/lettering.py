"""Text in pictures, in the font that Pillow brings along."""

from functools import cache

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

Color = tuple[int, int, int]
INK: Color = (0, 0, 0)
PAPER: Color = (255, 255, 255)


def text_size(text: str, size: int) -> tuple[int, int]:
    """Height and width in pixels of a text, which may have several lines.

    All texts of as many lines have the same height, so that they stand on one line.
    """
    widths = [_font(size).getlength(line) for line in text.split('\n')]
    return len(widths) * line_height(size), round(max(widths)) + 1


def line_height(size: int) -> int:
    """Height in pixels of a line of text with its distance to the next one."""
    return round(1.3 * size)


def lettered(
    picture: UInt8[np.ndarray, 'H W 3'],
    text: str,
    at: tuple[int, int],
    size: int,
    color: Color = INK,
    outline: bool = False,
) -> UInt8[np.ndarray, 'H W 3']:
    """Write a text into a picture.

    Args:
        picture: What to write on; it is not changed.
        text: Lines of text.
        at: x and y of the left top corner, or with ``outline`` of the centre.
        size: Height of the letters in pixels.
        color: RGB colour of the letters.
        outline: White letters with a dark rim, readable on any picture.
    """
    page = Image.fromarray(picture)
    draw = ImageDraw.Draw(page)
    if outline:
        left, top, right, bottom = outlined_box(text, at, size, page.size)
        at, rim = ((left + right) // 2, (top + bottom) // 2), _rim(size)
        draw.text(at, text, PAPER, _font(size), anchor='mm', stroke_width=rim, stroke_fill=INK)
    else:
        for i, line in enumerate(text.split('\n')):
            draw.text((at[0], at[1] + i * line_height(size)), line, color, _font(size))
    return np.asarray(page)


def outlined_box(
    text: str, at: tuple[int, int], size: int, page: tuple[int, int]
) -> tuple[int, int, int, int]:
    """Where an outlined line of text goes: around a point, but in the picture.

    Args:
        text: One line.
        at: x and y of its centre.
        size: Height of the letters in pixels.
        page: Width and height of the picture.

    Returns:
        Left, top, right and bottom; a text larger than the picture starts at its corner.
    """
    half = text_size(text, size)[1] // 2 + _rim(size), line_height(size) // 2 + _rim(size)
    x, y = (max(h, min(a, side - h)) for h, a, side in zip(half, at, page, strict=True))
    return x - half[0], y - half[1], x + half[0], y + half[1]


def _rim(size: int) -> int:
    return max(1, size // 8)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)  # Pillow is built with FreeType
    return font
