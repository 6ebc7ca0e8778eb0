from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from mmocl.datasets.feature_cache import CacheSettings
from mmocl.datasets.object_dataset import ObjectDataset, require_folder
from mmocl.datasets.transforms import LabelFormat
from mmocl.registry import DATASETS

VARIANTS = ('full', 'outd', 'camo', 'pbg', 'vbg', 'grassbg')
# Fractions of the images in sorted order.
SPLITS = {'test': (0.0, 0.1), 'val': (0.1, 0.2), 'train': (0.2, 1.0), 'all': (0.0, 1.0)}


@DATASETS.register_module()
class ClevrTex(ObjectDataset):
    """CLEVRTex, `arXiv:2111.10265 <https://arxiv.org/abs/2111.10265>`_, as it is unpacked.

    Folders ``clevrtex_{variant}`` hold, at any depth, ``CLEVRTEX_{variant}_000000.png`` and its
    mask ``CLEVRTEX_{variant}_000000_flat.png`` (0 background, from 1 objects). Images are 320x240;
    the benchmark cuts the centre, ``frame=(24, 64, 216, 256)`` (``LoadImage``), BO-QSA squashes all
    of it.

    Args:
        data_root: Folder that holds ``clevrtex_{variant}``.
        split: In sorted order ``'test'`` is the first tenth, ``'val'`` the second, ``'train'`` the
            rest, ``'all'`` everything. ``outd`` is for tests only and has ``'all'`` alone.
        variant: ``'full'``, ``'outd'`` (other shapes and textures), ``'camo'`` (camouflage),
            ``'pbg'``, ``'vbg'`` or ``'grassbg'`` (simpler backgrounds).
        pipeline: Transforms, as configs or callables.
        test_mode: Whether to list ground truth.
        token_cache: See ``ObjectDataset``.
        image_cache: See ``ObjectDataset``.
        indices: Keep these images only; an int n means the first n.

    Raises:
        FileNotFoundError: If the folder, or (testing) a mask is missing.
        ValueError: If split or variant is unknown, or the split is empty.
    """

    METAINFO: dict = {'dataset_type': 'ClevrTex'}  # noqa: RUF012
    LABEL_FORMAT = LabelFormat()

    def __init__(
        self,
        data_root: str | Path,
        split: str = 'train',
        variant: str = 'full',
        pipeline: Sequence[dict | Callable] = (),
        test_mode: bool = False,
        token_cache: CacheSettings | None = None,
        image_cache: CacheSettings | None = None,
        indices: int | Sequence[int] | None = None,
    ) -> None:
        if variant not in VARIANTS:
            raise ValueError(f'variant must be one of {VARIANTS}, got {variant!r}')
        if split not in SPLITS or (variant == 'outd' and split != 'all'):
            splits = ('all',) if variant == 'outd' else tuple(SPLITS)
            raise ValueError(
                f'split of variant {variant!r} of CLEVRTex must be one of {splits}, got {split!r}'
            )
        self.variant = variant
        super().__init__(data_root, split, pipeline, test_mode, token_cache, image_cache, indices)

    @property
    def where(self) -> str:
        """What the images are called in messages."""
        return f'{self.data_root} ({self.variant}, {self.split})'

    def load_data_list(self) -> list[dict]:
        """One entry an image: path, id, and in test mode the path of its mask."""
        folder = require_folder(Path(self.data_root, f'clevrtex_{self.variant}'), 'images')
        files = {path.stem: path for path in folder.rglob(f'CLEVRTEX_{self.variant}_*.png')}
        stems = sorted(s for s in files if re.fullmatch(rf'CLEVRTEX_{self.variant}_\d+', s))
        start, stop = (int(fraction * len(stems)) for fraction in SPLITS[self.split])
        stems = stems[start:stop]
        entries = [{'img_path': str(files[stem]), 'img_id': stem} for stem in stems]
        if self.test_mode:
            missing = [stem for stem in stems if f'{stem}_flat' not in files]
            if missing:
                raise FileNotFoundError(
                    f'{len(missing)} of {len(stems)} images of {self.where} have no mask (first: '
                    f'{missing[0]}_flat.png)'
                )
            for entry, stem in zip(entries, stems, strict=True):
                entry['label_map_path'] = str(files[f'{stem}_flat'])
        return entries
