from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from mmengine.logging import print_log

from mmocl.datasets.feature_cache import CacheSettings
from mmocl.datasets.object_dataset import ObjectDataset, require_folder
from mmocl.datasets.transforms import PHOTO_SUFFIXES, CorruptImageError, check_header, is_photo
from mmocl.registry import DATASETS

SPLITS = ('all', 'train', 'val')
# Every so manyth image is one of 'val'.
HELD_OUT = 10


@DATASETS.register_module()
class ImageFolder(ObjectDataset):
    """All images below a folder, without labels, sorted by path; hidden files are left out.

    ``'val'`` is every tenth of them, the first one included, and ``'train'`` the others: a folder
    that is added to is split anew.

    Args:
        data_root: Folder to search.
        folders: Subfolders of ``data_root`` to search instead of all of it.
        pipeline: Transforms, as configs or callables.
        test_mode: Whether files that are no images by their header are left out from the start,
            with a counted warning that names them, and one that cannot be decoded then raises;
            otherwise a corrupt image is skipped when it is met.
        token_cache: See ``ObjectDataset``.
        image_cache: See ``ObjectDataset``.
        indices: Keep these images only, of the split; an int n means the first n.
        split: ``'all'``, ``'train'`` or ``'val'``.

    Raises:
        FileNotFoundError: If a folder is missing.
        ValueError: If the split is not known or holds no image.
    """

    METAINFO: dict = {'dataset_type': 'ImageFolder'}  # noqa: RUF012

    def __init__(
        self,
        data_root: str | Path,
        folders: Sequence[str] = ('.',),
        pipeline: Sequence[dict | Callable] = (),
        test_mode: bool = False,
        token_cache: CacheSettings | None = None,
        image_cache: CacheSettings | None = None,
        indices: int | Sequence[int] | None = None,
        split: str = 'all',
    ) -> None:
        if split not in SPLITS:
            raise ValueError(f'split must be one of {SPLITS}, got {split!r}')
        self.folders = tuple(folders)
        super().__init__(data_root, split, pipeline, test_mode, token_cache, image_cache, indices)

    @property
    def where(self) -> str:
        """What the images are called in messages."""
        return (
            f'{self.data_root} (split {self.split!r}, folders {list(self.folders)}, '
            f'{", ".join(PHOTO_SUFFIXES)})'
        )

    def load_data_list(self) -> list[dict]:
        """One entry an image: its path, and the path relative to the data root as id."""
        paths: set[Path] = set()
        for name in self.folders:
            folder = require_folder(Path(self.data_root, name), 'images')
            paths.update(path for path in folder.rglob('*') if is_photo(path))
        found = sorted(paths)
        if self.split != 'all':
            wanted = self.split == 'val'
            found = [path for i, path in enumerate(found) if (i % HELD_OUT == 0) == wanted]
        if self.test_mode:
            found = self._readable(found)
        infos = [{'img_path': str(path)} for path in found]
        return [{**info, 'img_id': self.relative_name(info)} for info in infos]

    def _readable(self, paths: Sequence[Path]) -> list[Path]:
        """Those files that begin as images do; the others are named in the log."""
        kept, left_out = [], []
        for path in paths:
            try:
                check_header(path)
                kept.append(path)
            except CorruptImageError as error:
                left_out.append(str(error))
        if left_out:
            print_log(
                f'left out {len(left_out)} of {len(paths)} images of {self.where}: '
                + '; '.join(left_out),
                logger='current',
                level=logging.WARNING,
            )
        return kept
