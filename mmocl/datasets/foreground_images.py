"""The layout and the split of data sets of images with one foreground mask each."""

from __future__ import annotations

from pathlib import Path

from mmocl.datasets.object_dataset import require_folder

SPLITS = ('train', 'val', 'all')


def foreground_images(images: Path, masks: Path, split: str, test_mode: bool) -> list[dict]:
    """List the ``.jpg`` files of a folder that have a ``.png`` of the same name in another.

    In sorted order every fourth of them (the 4th, 8th, ...) is ``'val'``, the others are
    ``'train'``.

    Args:
        images: Folder of the images.
        masks: Folder of the masks.
        split: ``'train'``, ``'val'`` or ``'all'``.
        test_mode: Whether to list the masks.

    Returns:
        One entry an image: path, id, and maybe the path of its label map.

    Raises:
        FileNotFoundError: If a folder is missing.
        ValueError: If the split is unknown.
    """
    if split not in SPLITS:
        raise ValueError(f'split must be one of {SPLITS}, got {split!r}')
    with_mask = {path.stem for path in require_folder(masks, 'masks').glob('*.png')}
    paths = sorted(require_folder(images, 'images').glob('*.jpg'))
    paths = [path for path in paths if path.stem in with_mask]
    if split != 'all':
        paths = [path for i, path in enumerate(paths, 1) if (i % 4 == 0) == (split == 'val')]
    entries = [{'img_path': str(path), 'img_id': path.stem} for path in paths]
    if test_mode:
        for entry in entries:
            entry['label_map_path'] = str(masks / f'{entry["img_id"]}.png')
    return entries
