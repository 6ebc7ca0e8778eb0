from typing import Any

import torch
from mmengine.model import ImgDataPreprocessor
from torch import Tensor

from mmocl.registry import MODELS


@MODELS.register_module()
class SlotDataPreprocessor(ImgDataPreprocessor):
    """Normalise RGB images; cached tokens (N, C) are only stacked.

    Args:
        mean: Mean of every channel, in [0, 255]. The default maps to [-1, 1].
        std: Standard deviation of every channel.
    """

    def __init__(
        self,
        mean: tuple[float, float, float] = (127.5, 127.5, 127.5),
        std: tuple[float, float, float] = (127.5, 127.5, 127.5),
    ) -> None:
        super().__init__(mean=mean, std=std)

    def forward(self, data: dict, training: bool = False) -> dict[str, Any]:
        """Move a batch to the device and normalise or stack its inputs."""
        # Only inputs move: nothing on the device needs the ground truth.
        batch = {'inputs': data['inputs']}
        if data['inputs'][0].ndim == 3:
            inputs = super().forward(batch, training)['inputs']
        else:
            inputs = torch.stack(self.cast_data(batch)['inputs'])
        return {**data, 'inputs': inputs}

    def to_pixels(self, image: Tensor) -> Tensor:
        """Undo the normalisation: (3, H, W) to [0, 255]."""
        return (image * self.std + self.mean).clamp(0, 255)
