"""Write the slots of images as pseudo-labels.

``python tools/export_masks.py IMAGES CONFIG CHECKPOINT --out OUT --format coco`` writes one COCO
JSON file, a mask (RLE) of category ``slot`` for every slot of an image; ``--format png`` writes one
indexed PNG per image, under the image's relative name with .png, in the folder OUT, which
``BaseSegDataset`` of mmseg reads, and at the end ``info.json``, which says what made them. The
index is that of the slot: it does not mean the same in two images unless the slots of the model do.
A published file, or its name, takes the place of CONFIG and CHECKPOINT.

Masks have the size of the file. Pixels that the model was not shown, since the test pipeline cuts
them off, are in no mask of the JSON file and 255 in PNGs, mmseg's ``ignore_index``; pixels of masks
below ``--min-area`` are treated the same. The EXIF orientation of photographs is not applied, so
read those images with ``LoadImageFromFile(color_type='color_ignore_orientation')``. An image that
cannot be decoded ends the export.

Slots that start at random start from the same draws in every image, those of ``--seed``: masks of
an image depend neither on the other images nor on ``--batch-size``. Images are shown as by the test
pipeline of the config; ``tools/infer.py`` shows whole pictures.
"""

import argparse
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from mmengine.config import Config, DictAction
from mmengine.utils import track_iter_progress
from provenance import current_commit, shell_line, versions
from slot_files import write_coco, write_pngs

from mmocl.apis import UNSEEN, SlotInferencer, resolve_model, slot_map
from mmocl.apis.picture_batches import run_in_batches
from mmocl.apis.pictures import Picture
from mmocl.datasets import ImageFolder
from mmocl.datasets.transforms import PHOTO_SUFFIXES, read_image
from mmocl.model_files import LoadedCheckpoint
from mmocl.structures import SlotDataSample, soft_masks

# Images that ImageFolder does not look for.
OTHER_SUFFIXES = ('.avif', '.heic', '.jp2')


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        'images',
        help=f'image file, or a folder: its images ({", ".join(PHOTO_SUFFIXES)}) and those of '
        'subfolders',
    )
    parser.add_argument(
        'config', help='config file, name in the model index, or published file with its config'
    )
    parser.add_argument(
        'checkpoint', nargs='?', help='checkpoint or published file, if the model brings no weights'
    )
    parser.add_argument(
        '--out', required=True, help='.json file (coco) or new folder (png) to write'
    )
    parser.add_argument('--format', required=True, choices=['coco', 'png'])
    parser.add_argument(
        '--masks',
        choices=['decoder', 'attention'],
        help="which masks; those of the decoder if it gives any, else the slot head's attention",
    )
    parser.add_argument(
        '--min-area', type=int, default=0, help='leave masks of fewer pixels out (of the file)'
    )
    parser.add_argument(
        '--batch-size',
        type=int,
        default=1,
        help='images at a time',
    )
    parser.add_argument('--seed', type=int, default=0, help='of slots that start at random')
    parser.add_argument('--device', help='device, e.g. cuda:0; the best one if not given')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='override settings')
    args = parser.parse_args()
    if args.batch_size < 1:
        raise ValueError(f'--batch-size must be at least 1, got {args.batch_size}')
    if args.min_area < 0:
        raise ValueError(f'--min-area must not be negative, got {args.min_area}')

    root, names = find_images(Path(args.images))
    out = Path(args.out)
    if args.format == 'png':
        targets = png_paths(Path(args.images), names, out)
    elif out.suffix != '.json' or out.is_dir():
        given = f'the folder {out}' if out.is_dir() else f'--out {out}'
        raise ValueError(f'--format coco writes one .json file, got {given}')
    cfg, weights = load_model(args.config, args.checkpoint, args.cfg_options)
    # A folder that cannot be made ends the export here, not after hours of work.
    (out if args.format == 'png' else out.parent).mkdir(parents=True, exist_ok=True)
    inferencer = SlotInferencer(cfg, weights, args.device, show_progress=False)
    samples = predictions(inferencer, [root / name for name in names], args.batch_size, args.seed)
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
        'num_images': len(names),
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

    Images of a folder that have another suffix are counted on the console.

    Raises:
        FileNotFoundError: If there is neither a file nor a folder.
        ValueError: If the folder holds no image.
    """
    if path.is_file():
        return path.parent, [path.name]
    if not path.is_dir():
        raise FileNotFoundError(f'IMAGES: neither a file nor a folder at {path.absolute()}')
    folder = ImageFolder(path)
    if others := sum(file.suffix.lower() in OTHER_SUFFIXES for file in path.rglob('*')):
        print(
            f'{others} images of {path} are left out ({", ".join(OTHER_SUFFIXES)}): only those in '
            f'{", ".join(PHOTO_SUFFIXES)} are read'
        )
    return path, [folder.get_data_info(i)['img_id'] for i in range(len(folder))]


def png_paths(images: Path, names: Sequence[str], out: Path) -> list[Path]:
    """Files to write: the name of every image of a folder, or of one file, in ``out`` as ``.png``.

    Raises:
        ValueError: If two images would share a file, one would be written among the images, or
            ``out`` holds something, which might be taken for masks of this export.
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
    if out.is_dir() and (there := next(out.iterdir(), None)):
        raise ValueError(
            f'--out {out} is not empty: it holds {there.name}; expected a new folder, since masks '
            'of another export would stay beside those of this one'
        )
    return list(owners)


def load_model(
    path: str, checkpoint: str | None, options: dict[str, Any] | None
) -> tuple[Config, LoadedCheckpoint]:
    """Config of a model, with the changes of the command line, and its weights.

    Raises:
        ValueError: If it is one of mmsegmentation's models, has no test data to say how images
            are shown, or there are no weights.
    """
    cfg, weights = resolve_model(path, checkpoint)
    if options:
        cfg.merge_from_dict(options)
    kind = str((cfg.get('model') or {}).get('type'))
    scope, _, name = kind.rpartition('.')
    if (scope or cfg.get('default_scope')) == 'mmseg' or name == 'EncoderDecoder':
        raise ValueError(
            f"{path} has model.type={kind!r}, a model of mmsegmentation; expected one of mmocl's, "
            "as 'SlotAutoencoder'. mmsegmentation writes predictions itself: MMSegInferencer("
            'config, checkpoint)(folder, out_dir=...) writes pred/*.png'
        )
    if not (cfg.get('test_dataloader') or {}).get('dataset'):
        raise ValueError(
            f'{path} has no test_dataloader.dataset; expected one whose pipeline says how images '
            'are shown to the model'
        )
    if weights is None:
        raise ValueError(f'{path} brings no weights; give a checkpoint behind it')
    return cfg, weights


def predictions(
    inferencer: SlotInferencer, paths: Sequence[Path], batch_size: int, seed: int
) -> Iterator[SlotDataSample]:
    """Predictions image by image, in the pixels as they are stored; a batch of them is held.

    Raises:
        ValueError: If an image cannot be decoded, or does not hold the frame of the pipeline.
    """

    def run(shown: Sequence[dict]) -> list[SlotDataSample]:
        return inferencer.forward(inferencer.collate_fn(shown), seed=seed)

    pictures = (Picture(path.stem, path, np.asarray(read_image(str(path))[0])) for path in paths)
    for picture, sample in run_in_batches(pictures, inferencer.pipeline, run, batch_size):
        if picture.error is not None:
            raise picture.error
        yield sample


def without_small(ids: UInt8[np.ndarray, 'H W'], min_area: int) -> UInt8[np.ndarray, 'H W']:
    """Slots of at least ``min_area`` pixels; the pixels of the others are as if not shown."""
    small = np.bincount(ids.ravel(), minlength=UNSEEN + 1) < min_area
    return np.where(small[ids], np.uint8(UNSEEN), ids)


if __name__ == '__main__':
    main()
