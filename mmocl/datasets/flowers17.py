from __future__ import annotations

from pathlib import Path

from mmocl.datasets.foreground_images import foreground_images
from mmocl.datasets.object_dataset import ObjectDataset
from mmocl.datasets.transforms import LabelFormat
from mmocl.registry import DATASETS


@DATASETS.register_module()
class Flowers17(ObjectDataset):
    """Oxford's 17 category flowers with trimaps (Nilsback and Zisserman, 2006).

    One object an image, the flower: id 1 of the trimap. Id 0 is without annotation, all others
    (leaf, sky, ...) are background. Images without a trimap are left out, in training too.

    Args:
        data_root: Folder with ``jpg/*.jpg`` and ``trimaps/*.png``.
        split: ``'val'`` is every fourth image in sorted order, ``'train'`` the others, ``'all'``
            both; our choice, as the published splits are of classes.
        pipeline: Transforms, as configs or callables.
        test_mode: Whether to list ground truth.
        token_cache: See ``ObjectDataset``.
        image_cache: See ``ObjectDataset``.
        indices: Keep these images only; an int n means the first n.

    Raises:
        FileNotFoundError: If a folder is missing.
        ValueError: If the split is unknown or empty.
    """

    METAINFO: dict = {'dataset_type': 'Flowers17', 'classes': ('flower',)}  # noqa: RUF012
    # No description names 5, but some trimaps have it.
    LABEL_FORMAT = LabelFormat(background=(2, 3, 4, 5), void=(0,))

    def load_data_list(self) -> list[dict]:
        """One entry an image: path, id, and in test mode the path of its trimap."""
        root = Path(self.data_root)
        return foreground_images(root / 'jpg', root / 'trimaps', self.split, self.test_mode)
