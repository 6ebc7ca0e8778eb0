from __future__ import annotations

from pathlib import Path

from mmocl.datasets.foreground_images import foreground_images
from mmocl.datasets.object_dataset import ObjectDataset
from mmocl.datasets.transforms import LabelFormat
from mmocl.registry import DATASETS


@DATASETS.register_module()
class Ecssd(ObjectDataset):
    """Extended Complex Scene Saliency Dataset (Shi et al., 2016): one salient foreground an image.

    The foreground is one object, even in several parts.

    Args:
        data_root: Folder with ``images/*.jpg`` and ``ground_truth_mask/*.png`` (0 or 255).
        split: ``'val'`` is every fourth image in sorted order, ``'train'`` the others, ``'all'``
            both; our choice, as there are no published splits.
        pipeline: Transforms, as configs or callables.
        test_mode: Whether to list ground truth.
        token_cache: See ``ObjectDataset``.
        image_cache: See ``ObjectDataset``.
        indices: Keep these images only; an int n means the first n.

    Raises:
        FileNotFoundError: If a folder is missing.
        ValueError: If the split is unknown or empty.
    """

    METAINFO: dict = {'dataset_type': 'Ecssd', 'classes': ('foreground',)}  # noqa: RUF012
    # Bytes from 128 are 1, so that a smoothed border makes no objects of its own.
    LABEL_FORMAT = LabelFormat(divisor=128)

    def load_data_list(self) -> list[dict]:
        """One entry an image: path, id, and in test mode the path of its mask."""
        root = Path(self.data_root)
        masks = root / 'ground_truth_mask'
        return foreground_images(root / 'images', masks, self.split, self.test_mode)
