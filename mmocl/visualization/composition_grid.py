"""Scenes composed from the aggregate posterior, under real images."""

from collections.abc import Sequence

from mmocl.visualization.drawing import Picture
from mmocl.visualization.layout import headed, stacked, titled_grid

_REAL = ('image', 'reconstruction', 'masks')
_SCENE = ('scene', 'masks')


def composition_grid(
    scenes: Sequence[Sequence[Picture]],
    real: Sequence[Sequence[Picture]] = (),
    width: int = 12,
    tile: int = 128,
) -> Picture:
    """Draw composed scenes, and over them real images for comparison.

    Args:
        scenes: Scene, and its masks if the decoder gives some, of every scene.
        real: Image, reconstruction, and masks if there are some, of every real image.
        width: Pictures in a row.
        tile: Side of a picture in pixels.

    Raises:
        ValueError: If there are no scenes, or a row cannot hold one.
    """
    bands = []
    for header, items, titles in (
        ('Test images', real, _REAL),
        ('Scenes composed of slots from the aggregate posterior', scenes, _SCENE),
    ):
        if not items:
            continue
        num = len(items[0])
        per_row = width // num
        if per_row == 0:
            raise ValueError(f'width must be at least {num}, the pictures of an image, got {width}')
        rows = [
            [picture for item in items[i : i + per_row] for picture in item]
            for i in range(0, len(items), per_row)
        ]
        columns = list(titles[:num]) * min(per_row, len(items))
        grid = titled_grid(rows, columns, tile=(tile, tile), group=num)
        bands.append(headed(grid, header))
    if not scenes:
        raise ValueError('there are no scenes to draw')
    return stacked(bands)
