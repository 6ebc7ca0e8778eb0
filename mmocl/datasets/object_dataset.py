from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mmengine.dataset import BaseDataset
from mmengine.logging import print_log
from PIL import Image

from mmocl.datasets.token_cache import TokenCache
from mmocl.datasets.transforms import (
    CorruptImageError,
    LabelFormat,
    LoadImage,
    LoadObjectMasks,
    PackSlotInputs,
    ResizeCrop,
)
from mmocl.registry import TRANSFORMS

# More corrupt images in a row than this are not an accident.
_MAX_REFETCH = 20


class ObjectDataset(BaseDataset):
    """Images on disk, with object masks when testing; the shared part of all such datasets.

    A subclass writes ``load_data_list``, and says in ``LABEL_FORMAT`` what its label maps mean if
    entries have a ``label_map_path``. In training a corrupt image is replaced by a random other
    one, with a counted warning; in testing it raises.

    Args:
        data_root: Folder of the data set.
        split: Which part of it; what there is, the subclass says.
        pipeline: Transforms, as configs or callables.
        test_mode: Whether to list ground truth.
        token_cache: An .npz of ``tools/cache_features.py``. Its tokens become the inputs; of the
            pipeline only ``LoadObjectMasks`` and ``PackSlotInputs`` run.
        indices: Keep these images only; an int n means the first n.

    Raises:
        FileNotFoundError: If a folder or file is missing.
        ValueError: If the split is empty, or images are missing in the cache.
    """

    METAINFO: dict = {'dataset_type': 'ObjectDataset'}  # noqa: RUF012  MMEngine's name
    LABEL_FORMAT: LabelFormat | None = None

    def __init__(
        self,
        data_root: str | Path,
        split: str = 'train',
        pipeline: Sequence[dict | Callable] = (),
        test_mode: bool = False,
        token_cache: str | Path | None = None,
        indices: int | Sequence[int] | None = None,
    ) -> None:
        require_folder(Path(data_root), 'data_root')
        self.split = split
        # Built with this package's registry, so that names resolve outside a Runner too.
        steps = [TRANSFORMS.build(step) if isinstance(step, dict) else step for step in pipeline]
        self.num_corrupt = 0
        self._square: ResizeCrop | None = None
        self._load: LoadImage | None = None
        self._cache = None if token_cache is None else TokenCache(token_cache)
        if self._cache is not None:
            self._square = next((step for step in steps if isinstance(step, ResizeCrop)), None)
            self._load = next((step for step in steps if isinstance(step, LoadImage)), None)
            steps = [s for s in steps if isinstance(s, LoadObjectMasks | PackSlotInputs)]
        super().__init__(
            data_root=str(data_root),
            pipeline=steps,
            test_mode=test_mode,
            indices=indices,
            max_refetch=_MAX_REFETCH,
        )
        self.require_masks_only_in_test(steps)
        print_log(f'{type(self).__name__}: {len(self)} images of {self.where}', logger='current')

    @property
    def where(self) -> str:
        """What the images are called in messages."""
        return f'{self.data_root} ({self.split})'

    def require_masks_only_in_test(self, steps: Sequence[Callable]) -> None:
        """Training never decodes ground truth."""
        if not self.test_mode and any(isinstance(step, LoadObjectMasks) for step in steps):
            raise ValueError(
                'the pipeline has LoadObjectMasks, but test_mode is False, which lists no ground '
                'truth; expected test_mode=True or a pipeline without it'
            )

    def filter_data(self) -> list[dict]:
        """Refuse an empty split, and one that the token cache does not cover."""
        if not self.data_list:
            raise ValueError(f'no images in {self.where}; expected at least one')
        if self._cache is not None:
            self._cache.check(self.relative_name(info) for info in self.data_list)
        return self.data_list

    def relative_name(self, info: dict[str, Any]) -> str:
        """Name of an image in a token cache: its path relative to the data root, with slashes."""
        return Path(os.path.relpath(info['img_path'], self.data_root)).as_posix()

    def prepare_data(self, idx: int) -> dict | None:
        """Run the pipeline; None stands for a corrupt image in training.

        Args:
            idx: Position in the dataset.

        Returns:
            ``inputs`` and ``data_samples``.
        """
        info = self.get_data_info(idx)
        if 'label_map_path' in info:
            info['label_format'] = self.LABEL_FORMAT
        if self._cache is not None:
            self._add_tokens(info, self._cache)
        try:
            return self.run_pipeline(info)
        except CorruptImageError as error:
            if self.test_mode:
                raise
            self.num_corrupt += 1
            print_log(
                f'skipped {self.num_corrupt} corrupt images so far: {info["img_path"]} ({error})',
                logger='current',
                level=logging.WARNING,
            )
            return None

    def run_pipeline(self, info: dict[str, Any]) -> dict | None:
        """Transform an entry; of an image that cannot be decoded, raise ``CorruptImageError``."""
        return self.pipeline(info)

    def _add_tokens(self, info: dict[str, Any], cache: TokenCache) -> None:
        """What the skipped image transforms would have said, and the tokens."""
        info['tokens'] = cache[self.relative_name(info)]
        if 'height' in info:
            info['ori_shape'] = (info['height'], info['width'])
        else:
            with Image.open(info['img_path']) as image:  # reads the header only
                info['ori_shape'] = (image.height, image.width)
        if self._load is not None and self._load.frame is not None:
            self._load.add_frame(info)
        # Tokens were cached once, so they never show a random crop.
        if self._square is not None and self._square.crop != 'random':
            info['crop'] = self._square.crop
            info['img_shape'] = (self._square.size, self._square.size)


def require_folder(path: Path, what: str) -> Path:
    """The path itself, or one clear error."""
    if not path.is_dir():
        raise FileNotFoundError(f'{what}: no folder at {path.absolute()}')
    return path


def require_images(folder: Path, names: Sequence[str], listed_in: Path) -> None:
    """All images of a list exist; one listing of the folder is much faster than many look-ups."""
    present = set(os.listdir(require_folder(folder, 'images')))
    missing = [n for n in names if n not in present and not (folder / n).is_file()]
    if missing:
        raise FileNotFoundError(
            f'{len(missing)} of {len(names)} images listed in {listed_in} are not in {folder} '
            f'(first: {missing[0]})'
        )
