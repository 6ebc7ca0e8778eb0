from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from mmocl.datasets.feature_cache import CacheSettings
from mmocl.datasets.object_dataset import ObjectDataset, require_folder, require_images
from mmocl.datasets.transforms import LabelFormat
from mmocl.registry import DATASETS


@DATASETS.register_module()
class ShapeStacks(ObjectDataset):
    """ShapeStacks (Groth et al., 2018), `arXiv:1804.08018 <https://arxiv.org/abs/1804.08018>`_.

    Reads the unpacked archives: ``splits/{split_folder}/{split}.txt`` lists scenarios, of which
    ``recordings/{scenario}/rgb-*-cam_{k}-mono-0.png`` shows every camera and variant, and
    ``iseg-w=0-f=0-l=0-c=original-cam_{k}-mono-0.map``, a PNG, holds the masks of a camera for all
    its variants (the id is a byte of the first channel, divided by 32). Every line of a list
    counts; the released code of BO-QSA drops the last. It cuts the centre, ``frame=(14, 14, 210,
    210)`` (``LoadImage``), of the 224x224 pixels.

    Args:
        data_root: Folder with ``splits`` and ``recordings``.
        split: ``'train'``, ``'eval'`` or ``'test'``, a list.
        split_folder: Which lists.
        mask_folder: Where the scenarios' masks are, if they were not unpacked into ``recordings``.
        pipeline: Transforms, as configs or callables.
        test_mode: Whether to list ground truth.
        token_cache: See ``ObjectDataset``.
        image_cache: See ``ObjectDataset``.
        indices: Keep these images only; an int n means the first n.

    Raises:
        FileNotFoundError: If the list, a scenario of it or (testing) a mask is missing.
        ValueError: If there is no image.
    """

    METAINFO: dict = {'dataset_type': 'ShapeStacks'}  # noqa: RUF012
    LABEL_FORMAT = LabelFormat(divisor=32, first_channel=True)

    def __init__(
        self,
        data_root: str | Path,
        split: str = 'train',
        split_folder: str = 'default',
        mask_folder: str = 'recordings',
        pipeline: Sequence[dict | Callable] = (),
        test_mode: bool = False,
        token_cache: CacheSettings | None = None,
        image_cache: CacheSettings | None = None,
        indices: int | Sequence[int] | None = None,
    ) -> None:
        self.split_folder = split_folder
        self.mask_folder = mask_folder
        super().__init__(data_root, split, pipeline, test_mode, token_cache, image_cache, indices)

    def load_data_list(self) -> list[dict]:
        """One entry an image: path, id, and in test mode the path of its mask."""
        folder = require_folder(Path(self.data_root, 'splits', self.split_folder), 'split lists')
        path = folder / f'{self.split}.txt'
        if not path.is_file():
            there = sorted(file.stem for file in folder.glob('*.txt'))
            raise FileNotFoundError(
                f'split {self.split!r}: no list at {path.absolute()}; the folder has {there}'
            )
        return [entry for name in path.read_text().split() for entry in self._scenario(name, path)]

    def _scenario(self, name: str, listed_in: Path) -> list[dict]:
        """Entries of one scenario."""
        folder = Path(self.data_root, 'recordings', name)
        if not folder.is_dir():
            raise FileNotFoundError(f'scenario {name} of {listed_in}: no folder at {folder}')
        entries, maps = [], []
        for image in sorted(folder.glob('rgb-*.png')):
            match = re.fullmatch(r'rgb-.*-cam_(\d+)-mono-0', image.stem)
            if match:
                entries.append({'img_path': str(image), 'img_id': f'{name}/{image.stem}'})
                maps.append(f'iseg-w=0-f=0-l=0-c=original-cam_{match[1]}-mono-0.map')
        if self.test_mode:
            masks = Path(self.data_root, self.mask_folder, name)
            require_images(masks, maps, folder)
            for entry, file in zip(entries, maps, strict=True):
                entry['label_map_path'] = str(masks / file)
        return entries
