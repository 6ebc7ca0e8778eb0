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


def write_pngs(
    paths: Sequence[Path],
    maps: Iterable[UInt8[np.ndarray, 'H W']],
    info_path: Path,
    info: dict[str, Any],
) -> int:
    """Write maps of slots as palette images, unseen pixels in grey, and at the end the info.

    Returns:
        How many masks there are; the info has it as ``num_masks``.
    """
    colors = np.concatenate([palette(UNSEEN), np.full((1, 3), 128, np.uint8)])
    num_masks = 0
    for path, ids in zip(paths, maps, strict=True):
        image = Image.fromarray(ids)
        image.putpalette(colors.tobytes())
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)
        num_masks += len(np.unique(ids[ids != UNSEEN]))
    info_path.write_text(json.dumps({**info, 'num_masks': num_masks}, indent=2) + '\n')
    return num_masks


def write_coco(
    path: Path,
    names: Sequence[str],
    maps: Iterable[UInt8[np.ndarray, 'H W']],
    info: dict[str, Any],
) -> int:
    """Write maps of slots as COCO JSON, each before the next one is asked for.

    The file gets its name when it is complete; until then it is ``<name>.part``.

    Returns:
        How many masks there are; the info has it as ``num_masks``.
    """
    part = path.with_name(f'{path.name}.part')
    try:
        num_masks = _write_json(part, names, maps, info)
        part.replace(path)
    except BaseException:  # an interrupt too
        part.unlink(missing_ok=True)
        raise
    return num_masks


def _write_json(
    path: Path,
    names: Sequence[str],
    maps: Iterable[UInt8[np.ndarray, 'H W']],
    info: dict[str, Any],
) -> int:
    """Write the annotations as they come, one a line, then all that is small enough to hold."""
    images: list[dict[str, Any]] = []
    num_masks = 0
    with path.open('w') as file:
        file.write('{"annotations": [')
        for image_id, (name, ids) in enumerate(zip(names, maps, strict=True), start=1):
            height, width = ids.shape
            images.append({'id': image_id, 'file_name': name, 'height': height, 'width': width})
            for mask in annotations_of(ids):
                file.write(',\n' if num_masks else '\n')
                num_masks += 1
                file.write(json.dumps({'id': num_masks, 'image_id': image_id, **mask}))
        rest = {
            'images': images,
            'categories': [{'id': 1, 'name': 'slot'}],
            'info': {**info, 'num_masks': num_masks},
        }
        file.write('\n], ' + json.dumps(rest)[1:] + '\n')  # without its opening brace
    return num_masks


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
