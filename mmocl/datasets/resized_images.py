from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from mmocl.datasets.transforms import CorruptImageError
from mmocl.registry import TRANSFORMS


class ResizedImages(Dataset):
    """Images behind the resize of a pipeline.

    Args:
        paths: Image files.
        steps: ``resize_steps`` of the pipeline.
    """

    def __init__(self, paths: Sequence[str], steps: Sequence[dict[str, Any]]) -> None:
        self.paths = paths
        load, resize = (TRANSFORMS.build(dict(step)) for step in steps)
        self._load, self._resize = load, resize

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> dict[str, Any] | CorruptImageError:
        """``img`` (H, W, 3) and ``file_shape`` of an image, or the error of a corrupt one."""
        try:
            results = self._load({'img_path': self.paths[index]})
        except CorruptImageError as error:
            return error
        shape = results.get('file_shape', results['ori_shape'])
        return {'img': self._resize.resized(results['img']), 'file_shape': shape}


def pack_resized(items: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
    """Tensors of a shard of an ``ImageCache``, from items of ``ResizedImages``."""
    images = [item['img'] for item in items]
    return {
        'pixels': torch.from_numpy(np.concatenate([image.ravel() for image in images])),
        'offset': torch.tensor([0, *(image.size for image in images)]).cumsum(0),
        'shape': torch.tensor([image.shape[:2] for image in images], dtype=torch.int32),
        'file_shape': torch.tensor([item['file_shape'] for item in items], dtype=torch.int32),
    }
