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

    def forward(self, data: dict, training: bool = False) -> dict[str, Any] | list[Any]:
        """Move a batch to the device and normalise or stack its inputs."""
        if data['inputs'][0].ndim == 3:
            return super().forward(data, training)
        data = self.cast_data(data)
        return {**data, 'inputs': torch.stack(list(data['inputs']))}

    def to_pixels(self, image: Tensor) -> Tensor:
        """Undo the normalisation: (3, H, W) to [0, 255]."""
        return (image * self.std + self.mean).clamp(0, 255)
