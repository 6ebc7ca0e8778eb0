"""The layout of data sets that were turned from records into folders of numbered images."""

from __future__ import annotations

from pathlib import Path

from mmocl.datasets.object_dataset import require_folder, require_images


def numbered_images(folder: Path, with_masks: bool) -> list[dict]:
    """List ``images/img_*.png`` of a folder, if asked with ``masks/mask_*.png``.

    Args:
        folder: Folder of a split.
        with_masks: Whether every image needs its mask.

    Returns:
        One entry an image, sorted by name: path, id, and maybe the path of its label map.

    Raises:
        FileNotFoundError: If a folder or a mask is missing.
    """
    images, masks = folder / 'images', folder / 'masks'
    paths = sorted(require_folder(images, 'images').glob('img_*.png'))
    entries = [{'img_path': str(path), 'img_id': path.stem} for path in paths]
    if with_masks:
        names = [path.name.replace('img_', 'mask_', 1) for path in paths]
        require_images(masks, names, images)
        for entry, name in zip(entries, names, strict=True):
            entry['label_map_path'] = str(masks / name)
    return entries
