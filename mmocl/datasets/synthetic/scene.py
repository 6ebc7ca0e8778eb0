"""Random scenes of coloured sprites, in the manner of Multi-dSprites."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from mmocl.datasets.synthetic.sprites import MAX_RADIUS, SHAPES, sprite_mask

BACKGROUNDS = ('plain', 'colored')
PLAIN_GREY = 32
_MAX_DRAWS = 1000


@dataclass(frozen=True)
class Scene:
    """An image and everything that generated it; objects are ordered from back to front.

    ``masks`` holds the background in channel 0, then the visible pixels of each object; the
    channels partition the image. ``scale`` is relative to dSprites' largest sprite,
    ``orientation`` in radians counter-clockwise, ``position`` (x, y) as fractions of the image,
    ``color`` RGB in 0..1.
    """

    image: UInt8[np.ndarray, 'H W 3']
    shape: Int[np.ndarray, ' M']
    scale: Float[np.ndarray, ' M']
    orientation: Float[np.ndarray, ' M']
    position: Float[np.ndarray, 'M 2']
    color: Float[np.ndarray, 'M 3']
    masks: Bool[np.ndarray, 'M+1 H W']


def render_scene(
    rng: np.random.Generator,
    size: int = 64,
    num_objects: int = 4,
    background: str = 'plain',
    min_visible: int = 8,
    min_distance: float = 0.0,
) -> Scene:
    """Draw one random scene.

    All properties are independent of each other, apart from the rejection of scenes that hide an
    object. Every sprite lies fully inside the image. Objects are brighter (HSV value at least 0.7)
    than a coloured background (at most 0.5), so that none can vanish in it.

    Args:
        rng: Source of all randomness.
        size: Side of the image in pixels.
        num_objects: Objects in the scene.
        background: ``'plain'`` is one fixed dark grey, ``'colored'`` one random colour.
        min_visible: Visible pixels that each object has at least; scenes are redrawn until so.
        min_distance: Least distance between two centres, as a fraction of the image.

    Returns:
        The scene.

    Raises:
        ValueError: If 1000 draws gave no scene whose objects are far enough apart and visible.
    """
    for _ in range(_MAX_DRAWS):
        shape = rng.integers(1, len(SHAPES) + 1, num_objects)
        scale = rng.uniform(0.5, 1.0, num_objects)
        orientation = rng.uniform(0, 2 * np.pi, num_objects)
        position = rng.uniform(MAX_RADIUS, 1 - MAX_RADIUS, (num_objects, 2))
        if _least_distance(position) < min_distance:
            continue
        # Painted from back to front, so that a pixel keeps the id of the frontmost object.
        ids = np.zeros((size, size), dtype=np.int64)
        for i in range(num_objects):
            x, y = position[i].tolist()
            sprite = sprite_mask(
                int(shape[i]), float(scale[i]), float(orientation[i]), (x, y), size
            )
            ids[sprite] = i + 1
        visible = np.bincount(ids.ravel(), minlength=num_objects + 1)[1:]
        if (visible >= min_visible).all():
            break
    else:
        raise ValueError(
            f'{_MAX_DRAWS} draws of {num_objects} objects in {size}x{size} pixels gave none with '
            f'at least {min_visible} visible pixels each and centres {min_distance} apart; '
            'expected fewer objects, a larger image or a smaller distance'
        )
    hsv = rng.uniform((0, 0.7, 0.7), 1, (num_objects, 3))
    color = np.array([colorsys.hsv_to_rgb(*row) for row in hsv]).reshape(num_objects, 3)
    if background == 'plain':
        back = np.full(3, PLAIN_GREY / 255)
    else:
        back = np.array(colorsys.hsv_to_rgb(*rng.uniform(0, (1, 1, 0.5))))
    palette = np.rint(np.vstack([back, color]) * 255).astype(np.uint8)
    masks = ids == np.arange(num_objects + 1)[:, None, None]
    return Scene(palette[ids], shape, scale, orientation, position, color, masks)


def _least_distance(position: Float[np.ndarray, 'M 2']) -> float:
    """Distance of the closest pair of centres; infinite without a pair."""
    first, second = np.triu_indices(len(position), k=1)
    squared = np.square(position[first] - position[second]).sum(axis=1)
    return float(np.sqrt(squared.min(initial=np.inf)))
