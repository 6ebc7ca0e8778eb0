from __future__ import annotations

from typing import Any

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.structures import BaseDataElement, InstanceData, PixelData

from mmocl.registry import TRANSFORMS
from mmocl.structures import SlotDataSample

META_KEYS = (
    'img_id',
    'img_path',
    'ori_shape',
    'img_shape',
    'upright',
    'frame',
    'file_shape',
    'crop',
    'flip',
)


@TRANSFORMS.register_module()
class PackSlotInputs(BaseTransform):
    """Last step: ``inputs`` and a ``SlotDataSample`` with the ground truth that is there.

    ``inputs`` is the image as a uint8 RGB tensor (3, H, W), or the cached tokens (N, C).

    Raises:
        ValueError: If the image was cropped at random or flipped, so that ground truth, which keeps
            the frame of the file, would not fit.
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Pack one image; see the class."""
        sample = SlotDataSample(metainfo={k: results[k] for k in META_KEYS if k in results})
        pack_ground_truth(sample, results)
        if 'tokens' in results:
            inputs = results['tokens']
        else:
            # A copy in the layout of the tensor, because flipped arrays have negative strides.
            inputs = torch.from_numpy(np.array(results['img'].transpose(2, 0, 1), order='C'))
        return {'inputs': inputs, 'data_samples': sample}


def pack_ground_truth(sample: BaseDataElement, results: dict[str, Any]) -> None:
    """Give a data sample the ``gt_objects`` and ``gt_void`` that are there, as tensors.

    Raises:
        ValueError: If the image was cropped at random or flipped.
    """
    if 'gt_objects' in results:
        if results.get('crop') == 'random' or results.get('flip'):
            raise ValueError(
                'ground truth keeps the frame of the file, but the image was cropped at random '
                'or flipped; expected no random transform in a pipeline with ground truth'
            )
        sample.gt_objects = InstanceData(
            **{k: torch.from_numpy(v) for k, v in results['gt_objects'].items()}
        )
    if 'gt_void' in results:
        sample.gt_void = PixelData(data=torch.from_numpy(results['gt_void'])[None])
