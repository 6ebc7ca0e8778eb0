"""Turn records of CLEVR with masks or Objects Room into folders of PNG images and masks.

``python tools/dataset_converters/multi_object_tfrecords.py clevr_with_masks FILE OUT`` (or
``objects_room``); the files are those of https://github.com/google-deepmind/multi_object_datasets.
Writes ``OUT/{split}/images/img_000000.png``, ``OUT/{split}/masks/mask_000000.png`` and
``OUT/{split}/num_objects.json``; numbers count all records. The first records are the test split,
the next the validation split, the others the training split, as BO-QSA splits Objects Room (10,000
each); for CLEVR with masks, which has no official split, 5,000 each are our choice.

Masks: 0 is background. CLEVR: object i is i. Objects Room: entity i, counted from 0, is i + 1, and
the first four (walls, floor and sky) are background.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from mmengine.utils import ProgressBar
from PIL import Image
from tfrecord_reader import byte_values, read_examples


@dataclass(frozen=True)
class Layout:
    """Image size, the entities that are background, the id of the first object, size of a split."""

    height: int
    width: int
    num_background: int
    first_id: int
    num_held_out: int


LAYOUTS = {
    'clevr_with_masks': Layout(240, 320, num_background=1, first_id=1, num_held_out=5000),
    'objects_room': Layout(64, 64, num_background=4, first_id=5, num_held_out=10000),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('dataset', choices=list(LAYOUTS))
    parser.add_argument('records', help='the .tfrecords file')
    parser.add_argument('out', type=Path, help='folder to write')
    parser.add_argument('--num-test', type=int, help='images of the test split')
    parser.add_argument('--num-val', type=int, help='images of the validation split')
    parser.add_argument('--max-images', type=int, help='stop after so many records')
    args = parser.parse_args()

    layout = LAYOUTS[args.dataset]
    num_test = layout.num_held_out if args.num_test is None else args.num_test
    num_val = layout.num_held_out if args.num_val is None else args.num_val
    counts: defaultdict[str, list[int]] = defaultdict(list)
    progress = ProgressBar()
    for number, example in enumerate(islice(read_examples(args.records), args.max_images)):
        held_out = 'test' if number < num_test else 'val'
        split = held_out if number < num_test + num_val else 'train'
        image, ids = decode(example, layout)
        for kind, name, pixels in (('images', 'img', image), ('masks', 'mask', ids)):
            folder = args.out / split / kind
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / f'{name}_{number:06d}.png')
        counts[split].append(int(np.count_nonzero(np.unique(ids))))
        progress.update()
    for split, numbers in counts.items():
        (args.out / split / 'num_objects.json').write_text(json.dumps(numbers))
        print(f'\n{split}: {len(numbers)} images', end='')
    print()


def decode(example: dict[str, memoryview], layout: Layout) -> tuple[np.ndarray, np.ndarray]:
    """Image (H, W, 3) and ids (H, W) of a record, both uint8."""
    height, width = layout.height, layout.width
    missing = {'image', 'mask'} - example.keys()
    if missing:
        raise ValueError(f'a record lacks {sorted(missing)}; it has {sorted(example)}')
    image, mask = byte_values(example['image']), byte_values(example['mask'])
    if image.size != height * width * 3 or not mask.size or mask.size % (height * width):
        raise ValueError(
            f'image and mask of a record hold {image.size} and {mask.size} bytes; expected images '
            f'of {height}x{width}: is the file of another data set?'
        )
    entity = mask.reshape(-1, height, width).argmax(axis=0)
    ids = np.where(
        entity < layout.num_background, 0, entity - layout.num_background + layout.first_id
    )
    return image.reshape(height, width, 3), ids.astype(np.uint8)


if __name__ == '__main__':
    main()
