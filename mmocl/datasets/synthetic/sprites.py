"""The three sprites of dSprites as formulas.

Lengths are fractions of the image side at scale 1. The square and the ellipse were measured on real
frames; the heart's outline is a polynomial fitted to 167 of them (see tests/test_datasets).
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Bool, Float
from numpy.polynomial import chebyshev

SHAPES = {1: 'square', 2: 'ellipse', 3: 'heart'}

_SQUARE_HALF = 9.6 / 64
_ELLIPSE_X, _ELLIPSE_Y = 12.76 / 64, 7.22 / 64

# Outline of the heart: radius (in 1/64 of the side) over the angle from its cleft (-1) to its tip
# (+1), seen from a point 3/64 above the sprite's centre of rotation, as Chebyshev coefficients. The
# two halves mirror each other, which makes the cleft and the tip sharp.
_HEART_Y = 3 / 64
_HEART = np.array([7.853, 3.170, -1.266, 1.902, 0.390, 0.033, 0.097, 0.068, 0.085])
# Tabulated once, because a lookup is several times faster than the polynomial.
_HEART_ANGLES = np.linspace(0, math.pi, 129)
_HEART_RADII = chebyshev.chebval(np.linspace(-1, 1, 129), _HEART) / 64

# The farthest that any sprite reaches from its centre: a corner of the square.
MAX_RADIUS = _SQUARE_HALF * math.sqrt(2)


def sprite_mask(
    shape: int, scale: float, angle: float, center: tuple[float, float], size: int
) -> Bool[np.ndarray, 'H W']:
    """Pixels of one sprite; a pixel belongs to it if its centre does, as in dSprites.

    Args:
        shape: 1 square, 2 ellipse, 3 heart.
        scale: Size relative to dSprites' largest sprite (0.5 to 1 in dSprites).
        angle: Orientation in radians, counter-clockwise as seen on the screen.
        center: (x, y) of the centre of rotation as fractions of the image, y downwards.
        size: Side of the image in pixels.

    Returns:
        Mask (size, size).

    Raises:
        ValueError: If ``shape`` is not one of the three.
    """
    if shape not in SHAPES:
        raise ValueError(f'shape must be one of {SHAPES}, got {shape}')
    mask = np.zeros((size, size), dtype=bool)
    reach = scale * MAX_RADIUS
    left, right = _pixel_range(center[0], reach, size)
    top, bottom = _pixel_range(center[1], reach, size)
    if left >= right or top >= bottom:
        return mask
    x = ((np.arange(left, right) + 0.5) / size - center[0])[None] / scale
    y = (center[1] - (np.arange(top, bottom) + 0.5) / size)[:, None] / scale
    cos, sin = math.cos(angle), math.sin(angle)
    mask[top:bottom, left:right] = _inside(shape, x * cos + y * sin, y * cos - x * sin)
    return mask


def _pixel_range(center: float, reach: float, size: int) -> tuple[int, int]:
    """First and one past the last pixel that a sprite may touch along one axis."""
    first = math.floor((center - reach) * size)
    last = math.ceil((center + reach) * size)
    return max(first, 0), min(last, size)


def _inside(
    shape: int, u: Float[np.ndarray, 'h w'], v: Float[np.ndarray, 'h w']
) -> Bool[np.ndarray, 'h w']:
    """Which points, in the sprite's own frame (v upwards), lie inside its outline."""
    if shape == 1:
        return np.maximum(np.abs(u), np.abs(v)) < _SQUARE_HALF
    if shape == 2:
        return (u / _ELLIPSE_X) ** 2 + (v / _ELLIPSE_Y) ** 2 < 1
    v = v - _HEART_Y
    angle = np.arctan2(np.abs(u), v)
    return np.hypot(u, v) < np.interp(angle, _HEART_ANGLES, _HEART_RADII)
