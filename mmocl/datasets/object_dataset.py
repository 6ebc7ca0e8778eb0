from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mmengine.dataset import BaseDataset
from mmengine.logging import print_log

from mmocl.datasets.cached_inputs import cached_inputs
from mmocl.datasets.feature_cache import CacheSettings, FeatureCache
from mmocl.datasets.transforms import (
    CorruptImageError,
    LabelFormat,
    LoadObjectMasks,
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
        token_cache: A folder of ``tools/cache_features.py``, or a dict with it as ``folder``, and
            the arguments ``verify`` and ``views`` of :class:`FeatureCache`. Its tokens, in
            bfloat16, become the inputs; of the pipeline only ``LoadObjectMasks`` and
            ``PackSlotInputs`` run. Every access draws one of the views; in test mode it is
            ``'center'``. Image files that are there must have the sizes of when it was made.
        image_cache: A folder of ``tools/cache_images.py``, or a dict with it as ``folder`` and
            ``verify``. Its images take the place of ``LoadImage``; crops and flips still run.
        indices: Keep these images only; an int n means the first n.

    Raises:
        FileNotFoundError: If a folder or file is missing.
        ValueError: If the split is empty, or a cache does not fit; what differs is named.
    """

    METAINFO: dict = {'dataset_type': 'ObjectDataset'}  # noqa: RUF012  MMEngine's name
    LABEL_FORMAT: LabelFormat | None = None

    def __init__(
        self,
        data_root: str | Path,
        split: str = 'train',
        pipeline: Sequence[dict | Callable] = (),
        test_mode: bool = False,
        token_cache: CacheSettings | None = None,
        image_cache: CacheSettings | None = None,
        indices: int | Sequence[int] | None = None,
    ) -> None:
        require_folder(Path(data_root), 'data_root')
        self.split = split
        # Built with this package's registry, so that names resolve outside a Runner too.
        steps = [TRANSFORMS.build(step) if isinstance(step, dict) else step for step in pipeline]
        self.num_corrupt = 0
        self._cached = cached_inputs(token_cache, image_cache, pipeline, steps, test_mode)
        if self._cached is not None:
            steps = list(self._cached.steps)
        super().__init__(
            data_root=str(data_root),
            pipeline=steps,
            test_mode=test_mode,
            indices=indices,
            max_refetch=_MAX_REFETCH,
        )
        self.require_masks_only_in_test(steps)
        if self._cached is not None:
            # Of the images of ``indices`` alone.
            infos = (self.get_data_info(i) for i in range(len(self)))
            self._cached.require({self.relative_name(info): info['img_path'] for info in infos})
        print_log(f'{type(self).__name__}: {len(self)} images of {self.where}', logger='current')

    @property
    def where(self) -> str:
        """What the images are called in messages."""
        return f'{self.data_root} ({self.split})'

    @property
    def feature_cache(self) -> FeatureCache | None:
        """Where tokens come from, if they do."""
        cache = None if self._cached is None else self._cached.cache
        return cache if isinstance(cache, FeatureCache) else None

    def require_masks_only_in_test(self, steps: Sequence[Callable]) -> None:
        """Training never decodes ground truth."""
        if not self.test_mode and any(isinstance(step, LoadObjectMasks) for step in steps):
            raise ValueError(
                'the pipeline has LoadObjectMasks, but test_mode is False, which lists no ground '
                'truth; expected test_mode=True or a pipeline without it'
            )

    def filter_data(self) -> list[dict]:
        """Refuse an empty split."""
        if not self.data_list:
            raise ValueError(f'no images in {self.where}; expected at least one')
        return self.data_list

    def relative_name(self, info: dict[str, Any]) -> str:
        """Name of an image in a cache: its path relative to the data root, with slashes."""
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
        if self._cached is not None:
            self._cached.add(info, self.relative_name(info))
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
