"""Write the slots of images as pseudo-labels.

``python tools/export_masks.py IMAGES CONFIG CHECKPOINT --out OUT --format coco`` writes one COCO
JSON file, a mask (RLE) of category ``slot`` for every slot of an image; ``--format png`` writes an
indexed PNG beside every image's name in the folder OUT, which ``BaseSegDataset`` of mmseg reads,
and ``info.json``, which says what made them. The index is that of the slot: it does not mean the
same in two images unless the slots of the model do.

Masks have the size of the file. Pixels that the model was not shown, since the test pipeline cuts
them off, are in no mask of the JSON file and 255 in PNGs, mmseg's ``ignore_index``; so are those of
masks below ``--min-area``. The EXIF orientation of photographs is not applied, so read those images
with ``LoadImageFromFile(color_type='color_ignore_orientation')``. An image that cannot be decoded
ends the export.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from mmengine.config import Config, DictAction
from mmengine.runner import set_random_seed
from mmengine.utils import track_iter_progress
from PIL import Image
from provenance import current_commit, shell_line, versions
from pycocotools import mask as coco_mask

from mmocl.apis import UNSEEN, SlotInferencer, slot_map
from mmocl.datasets import ImageFolder
from mmocl.evaluation.metrics.sample import soft_masks
from mmocl.structures import SlotDataSample
from mmocl.visualization.drawing import palette


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('images', help='image file, or a folder of them and of subfolders')
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--out', required=True, help='.json file (coco) or folder (png) to write')
    parser.add_argument('--format', required=True, choices=['coco', 'png'])
    parser.add_argument(
        '--masks',
        choices=['decoder', 'attention'],
        help="which masks; those of the decoder if it gives any, else the slot head's attention",
    )
    parser.add_argument(
        '--min-area', type=int, default=0, help='leave masks of fewer pixels out (of the file)'
    )
    parser.add_argument('--batch-size', type=int, default=1)
    parser.add_argument('--seed', type=int, default=0, help='of slots that start at random')
    parser.add_argument('--device', help='device, e.g. cuda:0; the best one if not given')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='override settings')
    args = parser.parse_args()
    if args.batch_size < 1:
        raise ValueError(f'--batch-size must be at least 1, got {args.batch_size}')

    root, names = find_images(Path(args.images))
    out = Path(args.out)
    if args.format == 'png':
        targets = png_paths(Path(args.images), names, out)
    elif out.suffix != '.json':
        raise ValueError(f'--format coco writes one .json file, got --out {args.out}')
    cfg = Config.fromfile(args.config)
    if args.cfg_options:
        cfg.merge_from_dict(args.cfg_options)
    inferencer = SlotInferencer(cfg, args.checkpoint, args.device, show_progress=False)
    set_random_seed(args.seed)
    samples = predictions(inferencer, [str(root / name) for name in names], args.batch_size)
    first = next(samples)
    source = args.masks or ('decoder' if 'pred_masks' in first else 'attention')
    info = {
        'description': f'Slots of an mmocl model, {source} masks',
        'config': args.config,
        'options': args.cfg_options or {},
        'checkpoint': args.checkpoint,
        'masks': source,
        'num_slots': len(soft_masks(first, source)),
        'min_area': args.min_area,
        'seed': args.seed,
        'command': shell_line(),
        'commit': current_commit(),
        'versions': versions('torch', 'timm'),
    }
    maps = (
        without_small(slot_map(sample, source), args.min_area) for sample in chain([first], samples)
    )
    maps = track_iter_progress((maps, len(names)))
    if args.format == 'png':
        num_masks = write_pngs(targets, maps, out / 'info.json', info)
    else:
        num_masks = write_coco(out, names, maps, info)
    print(f'{num_masks} {source} masks of {len(names)} images are in {out}')


def find_images(path: Path) -> tuple[Path, list[str]]:
    """The folder of the images, and their paths in it with slashes.

    Raises:
        FileNotFoundError: If there is neither a file nor a folder.
        ValueError: If the folder holds no image.
    """
    if path.is_file():
        return path.parent, [path.name]
    if not path.is_dir():
        raise FileNotFoundError(f'IMAGES: neither a file nor a folder at {path.absolute()}')
    folder = ImageFolder(path)
    return path, [folder.get_data_info(i)['img_id'] for i in range(len(folder))]


def png_paths(images: Path, names: Sequence[str], out: Path) -> list[Path]:
    """Files to write: the name of every image of a folder, or of one file, in ``out`` as ``.png``.

    Raises:
        ValueError: If two images would share a file, or one would be written among the images.
    """
    if out.is_file():
        raise ValueError(f'--format png writes a folder, but --out {out} is a file')
    owners: dict[Path, str] = {}
    for name in names:
        path = (out / name).with_suffix('.png')
        if path in owners:
            raise ValueError(
                f'{owners[path]} and {name} of {images} would both become {path}; expected images '
                'that differ in more than their suffix (or --format coco)'
            )
        owners[path] = name
    folder, single = out.resolve(), images.is_file()
    if folder == images.parent.resolve() if single else folder.is_relative_to(images.resolve()):
        raise ValueError(
            f'--out {out} lies in the folder of the images, {images}, where masks would be taken '
            'for images, or replace them; expected a folder elsewhere'
        )
    return list(owners)


def predictions(
    inferencer: SlotInferencer, paths: Sequence[str], batch_size: int
) -> Iterator[SlotDataSample]:
    """Predictions image by image; no more than a batch of them is held.

    These are the steps of calling the inferencer, without the pictures that it would draw.
    """
    for batch in inferencer.preprocess(paths, batch_size):
        yield from inferencer.forward(batch)


def without_small(ids: UInt8[np.ndarray, 'H W'], min_area: int) -> UInt8[np.ndarray, 'H W']:
    """Slots of at least ``min_area`` pixels; the pixels of the others are as if not shown."""
    small = np.bincount(ids.ravel(), minlength=UNSEEN + 1) < min_area
    return np.where(small[ids], np.uint8(UNSEEN), ids)


def write_pngs(
    paths: Sequence[Path],
    maps: Iterator[UInt8[np.ndarray, 'H W']],
    info_path: Path,
    info: dict[str, Any],
) -> int:
    """Write maps of slots as palette images, unseen pixels in grey; return how many masks."""
    info_path.parent.mkdir(parents=True, exist_ok=True)
    info_path.write_text(json.dumps(info, indent=2) + '\n')
    colors = np.concatenate([palette(UNSEEN), np.full((1, 3), 128, np.uint8)])
    num_masks = 0
    for path, ids in zip(paths, maps, strict=True):
        image = Image.fromarray(ids)
        image.putpalette(colors.tobytes())
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)
        num_masks += np.count_nonzero(np.unique(ids) != UNSEEN)
    return num_masks


def write_coco(
    path: Path,
    names: Sequence[str],
    maps: Iterator[UInt8[np.ndarray, 'H W']],
    info: dict[str, Any],
) -> int:
    """Write maps of slots as COCO JSON; return how many masks."""
    images, annotations = [], []
    for image_id, (name, ids) in enumerate(zip(names, maps, strict=True), start=1):
        height, width = ids.shape
        images.append({'id': image_id, 'file_name': name, 'height': height, 'width': width})
        for mask in annotations_of(ids):
            annotations.append({'id': len(annotations) + 1, 'image_id': image_id, **mask})
    content = {
        'info': info,
        'images': images,
        'annotations': annotations,
        'categories': [{'id': 1, 'name': 'slot'}],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return len(annotations)


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


if __name__ == '__main__':
    main()
