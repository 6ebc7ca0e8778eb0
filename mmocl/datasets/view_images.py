from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmcv.transforms import Compose
from torch.utils.data import Dataset

from mmocl.datasets.transforms import CorruptImageError
from mmocl.registry import TRANSFORMS


class ViewImages(Dataset):
    """All views of every image, as a feature cache holds their tokens.

    An image depends on its path, name, view and the seed alone, so that a cache can be made in any
    order. Reading one sets the seeds of Python, NumPy and PyTorch.

    Args:
        paths: Image files.
        names: Their names in the cache.
        views: ``name`` and ``steps``, the transforms, of every view.
        seed: Seed of the random views.
    """

    def __init__(
        self,
        paths: Sequence[str],
        names: Sequence[str],
        views: Sequence[dict[str, Any]],
        seed: int,
    ) -> None:
        self.paths = paths
        self.names = names
        self.seed = seed
        pack = {'type': 'PackSlotInputs'}
        self._views = [
            Compose([TRANSFORMS.build(dict(step)) for step in [*view['steps'], pack]])
            for view in views
        ]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> dict[str, Any] | CorruptImageError:
        """Views of one image.

        Args:
            index: Position.

        Returns:
            ``images``, uint8 (V, 3, H, W), and ``file_shape``, (height, width) of the file; of a
            corrupt image the error.
        """
        images = []
        shape: tuple[int, int] = (0, 0)
        for number, view in enumerate(self._views):
            digest = hashlib.sha256(f'{self.seed}/{number}/{self.names[index]}'.encode()).digest()
            seed = int.from_bytes(digest[:4], 'little')
            random.seed(seed)
            np.random.seed(seed)
            torch.manual_seed(seed)
            try:
                item = view({'img_path': self.paths[index], 'img_id': self.names[index]})
            except CorruptImageError as error:
                return error
            images.append(item['inputs'])
            sample = item['data_samples']
            shape = sample.get('file_shape', sample.ori_shape)
        return {'images': torch.stack(images), 'file_shape': tuple(shape)}
