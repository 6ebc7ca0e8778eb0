from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from mmocl.datasets.feature_cache import CacheSettings
from mmocl.datasets.object_dataset import ObjectDataset, require_folder
from mmocl.registry import DATASETS

SUFFIXES = ('.jpg', '.jpeg', '.png')


@DATASETS.register_module()
class ImageFolder(ObjectDataset):
    """All images below a folder, without labels, sorted by path.

    Args:
        data_root: Folder to search.
        folders: Subfolders of ``data_root`` to search instead of all of it.
        pipeline: Transforms, as configs or callables.
        test_mode: Whether a corrupt image raises instead of being skipped.
        token_cache: See ``ObjectDataset``.
        image_cache: See ``ObjectDataset``.
        indices: Keep these images only; an int n means the first n.

    Raises:
        FileNotFoundError: If a folder is missing.
        ValueError: If there is no image.
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
    ) -> None:
        self.folders = tuple(folders)
        super().__init__(data_root, 'all', pipeline, test_mode, token_cache, image_cache, indices)

    @property
    def where(self) -> str:
        """What the images are called in messages."""
        return f'{self.data_root} (folders {list(self.folders)}, {", ".join(SUFFIXES)})'

    def load_data_list(self) -> list[dict]:
        """One entry an image: its path, and the path relative to the data root as id."""
        paths: set[Path] = set()
        for name in self.folders:
            folder = require_folder(Path(self.data_root, name), 'images')
            paths.update(p for p in folder.rglob('*') if p.suffix.lower() in SUFFIXES)
        infos = [{'img_path': str(path)} for path in sorted(paths) if path.is_file()]
        return [{**info, 'img_id': self.relative_name(info)} for info in infos]
