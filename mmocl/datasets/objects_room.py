from __future__ import annotations

from pathlib import Path

from mmocl.datasets.numbered_images import numbered_images
from mmocl.datasets.object_dataset import ObjectDataset
from mmocl.datasets.transforms import LabelFormat
from mmocl.registry import DATASETS


@DATASETS.register_module()
class ObjectsRoom(ObjectDataset):
    """Objects Room (Kabra et al., 2019) as PNG folders, the layout of BO-QSA.

    ``tools/dataset_converters/multi_object_tfrecords.py`` writes it from the published records:
    ``{split}/images/img_*.png`` and ``{split}/masks/mask_*.png``. The first four entities (walls,
    floor and sky, ids 1 to 4 or 0) are background; ids from 5 are objects.

    Args:
        data_root: Folder that holds the splits.
        split: ``'train'``, ``'val'`` or ``'test'``, a folder.
        pipeline: Transforms, as configs or callables.
        test_mode: Whether to list ground truth.
        token_cache: See ``ObjectDataset``.
        image_cache: See ``ObjectDataset``.
        indices: Keep these images only; an int n means the first n.

    Raises:
        FileNotFoundError: If a folder, or (testing) a mask is missing.
        ValueError: If there is no image.
    """

    METAINFO: dict = {'dataset_type': 'ObjectsRoom'}  # noqa: RUF012
    LABEL_FORMAT = LabelFormat(background=(0, 1, 2, 3, 4))

    def load_data_list(self) -> list[dict]:
        """One entry an image: path, id, and in test mode the path of its mask."""
        return numbered_images(Path(self.data_root, self.split), self.test_mode)
