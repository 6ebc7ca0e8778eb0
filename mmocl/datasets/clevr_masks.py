from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from mmocl.datasets.feature_cache import CacheSettings
from mmocl.datasets.numbered_images import numbered_images
from mmocl.datasets.object_dataset import ObjectDataset
from mmocl.datasets.transforms import LabelFormat
from mmocl.registry import DATASETS


@DATASETS.register_module()
class ClevrMasks(ObjectDataset):
    """CLEVR with masks (Kabra et al., 2019) as PNG folders.

    ``tools/dataset_converters/multi_object_tfrecords.py`` writes them from the published records,
    which allow no random access: ``{split}/images/img_*.png``, ``{split}/masks/mask_*.png`` (0
    background, from 1 objects) and ``{split}/num_objects.json``, the numbers of visible objects in
    the order of the images. Images are 320x240; Slot Attention cuts ``frame=(29, 64, 221, 256)``
    (``LoadImage``).

    Args:
        data_root: Folder that holds the splits.
        split: ``'train'``, ``'val'`` or ``'test'``, a folder.
        max_objects: Leave out images with more objects; 6 gives CLEVR6.
        pipeline: Transforms, as configs or callables.
        test_mode: Whether to list ground truth.
        token_cache: See ``ObjectDataset``.
        image_cache: See ``ObjectDataset``.
        indices: Keep these images only; an int n means the first n.

    Raises:
        FileNotFoundError: If a folder, the numbers, or (testing) a mask is missing.
        ValueError: If there is no image, or the numbers do not fit the images.
    """

    METAINFO: dict = {'dataset_type': 'ClevrMasks'}  # noqa: RUF012
    LABEL_FORMAT = LabelFormat()

    def __init__(
        self,
        data_root: str | Path,
        split: str = 'train',
        max_objects: int | None = None,
        pipeline: Sequence[dict | Callable] = (),
        test_mode: bool = False,
        token_cache: CacheSettings | None = None,
        image_cache: CacheSettings | None = None,
        indices: int | Sequence[int] | None = None,
    ) -> None:
        self.max_objects = max_objects
        super().__init__(data_root, split, pipeline, test_mode, token_cache, image_cache, indices)

    @property
    def where(self) -> str:
        """What the images are called in messages."""
        limit = '' if self.max_objects is None else f', at most {self.max_objects} objects'
        return f'{self.data_root} ({self.split}{limit})'

    def load_data_list(self) -> list[dict]:
        """One entry an image: path, id, and in test mode the path of its mask."""
        folder = Path(self.data_root, self.split)
        entries = numbered_images(folder, self.test_mode)
        if self.max_objects is None:
            return entries
        path = folder / 'num_objects.json'
        if not path.is_file():
            raise FileNotFoundError(
                f'max_objects={self.max_objects} needs the numbers of objects, but there is no '
                f'file at {path.absolute()}; the converter of the records writes it'
            )
        counts = json.loads(path.read_bytes())
        if not isinstance(counts, list) or len(counts) != len(entries):
            raise ValueError(f'{path} does not hold one number for each of {len(entries)} images')
        return [e for e, n in zip(entries, counts, strict=True) if n <= self.max_objects]
