from __future__ import annotations

from pathlib import Path

from mmocl.datasets.object_dataset import ObjectDataset, require_folder, require_images
from mmocl.registry import DATASETS

VOC_CLASSES = (
    *('aeroplane', 'bicycle', 'bird', 'boat', 'bottle', 'bus', 'car', 'cat', 'chair', 'cow'),
    *('diningtable', 'dog', 'horse', 'motorbike', 'person', 'pottedplant', 'sheep', 'sofa'),
    *('train', 'tvmonitor'),
)


@DATASETS.register_module()
class VocObjects(ObjectDataset):
    """A raw PASCAL VOC folder, as in ``VOCdevkit/VOC2012`` or ``VOCdevkit/VOC2007``.

    Args:
        data_root: Folder with ``JPEGImages``, ``ImageSets/Segmentation``, and for testing
            ``SegmentationObject`` and ``SegmentationClass``.
        split: ``'train'``, ``'val'``, ``'trainval'``, ``'trainaug'``, or any other list in
            ``ImageSets/Segmentation``.
        pipeline: Transforms, as configs or callables.
        test_mode: Whether to list ground truth.
        token_cache: See ``ObjectDataset``.
        image_cache: See ``ObjectDataset``.
        indices: Keep these images only; an int n means the first n.

    Raises:
        FileNotFoundError: If the list, images or (testing) masks of it are missing.
        ValueError: If the list is empty.
    """

    METAINFO: dict = {'dataset_type': 'VocObjects', 'classes': VOC_CLASSES}  # noqa: RUF012

    def load_data_list(self) -> list[dict]:
        """One entry an image: path, id, and in test mode the paths of its masks."""
        root = Path(self.data_root)
        sets = require_folder(root / 'ImageSets' / 'Segmentation', 'image sets')
        path = sets / f'{self.split}.txt'
        if not path.is_file():
            there = sorted(file.stem for file in sets.glob('*.txt'))
            raise FileNotFoundError(
                f'split {self.split!r}: no list at {path.absolute()}; the folder has {there}'
            )
        # The first column is the name; some lists carry a label in a second.
        ids = [line.split()[0] for line in path.read_text().splitlines() if line.strip()]
        folders = {'img_path': (root / 'JPEGImages', '.jpg')}
        if self.test_mode:
            folders['object_map_path'] = (root / 'SegmentationObject', '.png')
            folders['class_map_path'] = (root / 'SegmentationClass', '.png')
        for folder, suffix in folders.values():
            require_images(folder, [name + suffix for name in ids], path)
        return [
            {'img_id': name, **{k: str(d / f'{name}{s}') for k, (d, s) in folders.items()}}
            for name in ids
        ]
