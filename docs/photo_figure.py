"""Draw ``docs/figures/photos.jpg``: photographs, and the slots of a model over them.

``python docs/photo_figure.py CONFIG CHECKPOINT PHOTO...``
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from mmocl.apis import SlotInferencer
from mmocl.datasets.transforms import read_photo

HEIGHT, GAP = 180, 6


def row(pictures: list[np.ndarray]) -> np.ndarray:
    """Pictures of one height, side by side on white."""
    tiles = []
    for picture in pictures:
        width = round(HEIGHT * picture.shape[1] / picture.shape[0])
        tile = np.asarray(Image.fromarray(picture).resize((width, HEIGHT)))
        tiles.append(np.pad(tile, ((0, GAP), (0, GAP), (0, 0)), constant_values=255))
    return np.concatenate(tiles, axis=1)


config, checkpoint, *photos = sys.argv[1:]
drawn = SlotInferencer(config, checkpoint, show_progress=False)(photos)['visualization']
sheet = Image.fromarray(np.concatenate([row([read_photo(photo) for photo in photos]), row(drawn)]))
sheet.save(Path(__file__).parent / 'figures' / 'photos.jpg', quality=82, optimize=True)
