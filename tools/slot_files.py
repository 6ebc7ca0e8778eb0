"""Maps of slots as files: COCO JSON, or indexed PNGs with a JSON file that describes them."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image
from pycocotools import mask as coco_mask

from mmocl.apis import UNSEEN
from mmocl.visualization.drawing import palette


def write_png(path: Path, ids: UInt8[np.ndarray, 'H W']) -> int:
    """Write a map of slots as a palette image, unseen pixels in grey.

    Returns:
        How many masks there are.
    """
    colors = np.concatenate([palette(UNSEEN), np.full((1, 3), 128, np.uint8)])
    image = Image.fromarray(ids)
    image.putpalette(colors.tobytes())
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    return len(np.unique(ids[ids != UNSEEN]))


def write_pngs(
    paths: Sequence[Path],
    maps: Iterable[UInt8[np.ndarray, 'H W']],
    info_path: Path,
    info: dict[str, Any],
) -> int:
    """Write maps of slots as palette images, and at the end the info.

    Returns:
        How many masks there are; the info has it as ``num_masks``.
    """
    num_masks = sum(write_png(path, ids) for path, ids in zip(paths, maps, strict=True))
    info_path.write_text(json.dumps({**info, 'num_masks': num_masks}, indent=2) + '\n')
    return num_masks


def write_coco(
    path: Path,
    names: Sequence[str],
    maps: Iterable[UInt8[np.ndarray, 'H W']],
    info: dict[str, Any],
) -> int:
    """Write maps of slots as COCO JSON, each before the next one is asked for.

    Returns:
        How many masks there are; the info has it as ``num_masks``.
    """
    with CocoFile(path) as file:
        for name, ids in zip(names, maps, strict=True):
            file.add(name, ids)
        file.finish(info)
    return file.num_masks


class CocoFile:
    """COCO JSON of maps of slots, written image by image.

    The file gets its name when it is complete; until then it is ``<name>.part``, and nothing is
    left of it if the block is ended by an exception.

    Args:
        path: File to write.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.num_images = 0
        self.num_masks = 0
        self._part = path.with_name(f'{path.name}.part')
        self._images: list[dict[str, Any]] = []

    def __enter__(self) -> 'CocoFile':
        self._file = self._part.open('w')
        self._file.write('{"annotations": [')
        return self

    def add(self, name: str, ids: UInt8[np.ndarray, 'H W']) -> None:
        """Write the annotations of an image, one a line."""
        self.num_images += 1
        height, width = ids.shape
        image = {'id': self.num_images, 'file_name': name, 'height': height, 'width': width}
        self._images.append(image)
        for mask in annotations_of(ids):
            self._file.write(',\n' if self.num_masks else '\n')
            self.num_masks += 1
            self._file.write(
                json.dumps({'id': self.num_masks, 'image_id': self.num_images, **mask})
            )

    def finish(self, info: dict[str, Any]) -> None:
        """Write all that is small enough to hold; the info gets ``num_masks``."""
        rest = {
            'images': self._images,
            'categories': [{'id': 1, 'name': 'slot'}],
            'info': {**info, 'num_masks': self.num_masks},
        }
        self._file.write('\n], ' + json.dumps(rest)[1:] + '\n')  # without its opening brace
        self._file.close()
        self._part.replace(self.path)

    def __exit__(self, *error: object) -> None:
        self._file.close()
        self._part.unlink(missing_ok=True)


def annotations_of(ids: UInt8[np.ndarray, 'H W']) -> list[dict[str, Any]]:
    """COCO annotations of a map of slots, without the ids of image and annotation.

    ``slot`` is the index of the slot, an entry that COCO does not have.
    """
    found = []
    for slot in np.unique(ids[ids != UNSEEN]):
        rle = coco_mask.encode(np.asfortranarray(ids == slot, dtype=np.uint8))
        found.append(
            {
                'category_id': 1,
                'segmentation': {'size': list(ids.shape), 'counts': rle['counts'].decode()},
                'area': int(coco_mask.area(rle)),
                'bbox': coco_mask.toBbox(rle).tolist(),
                'iscrowd': 0,
                'slot': int(slot),
            }
        )
    return found
