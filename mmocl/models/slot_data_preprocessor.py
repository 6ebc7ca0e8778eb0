from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import ImgDataPreprocessor
from torch import Tensor

from mmocl.registry import MODELS


@MODELS.register_module()
class SlotDataPreprocessor(ImgDataPreprocessor):
    """Normalise RGB images; cached tokens (N, C) only become float32.

    Inputs go to the device as they are stored, uint8 or bfloat16, and are widened there. They are a
    list, or one tensor if ``stack_inputs`` collates, which with pinned memory is copied in the
    background. Images of different sizes are padded with 0 at
    the right and the bottom, after they are normalised.

    Args:
        mean: Mean of every channel, in [0, 255]. The default maps to [-1, 1].
        std: Standard deviation of every channel.
    """

    def __init__(
        self,
        mean: tuple[float, float, float] = (127.5, 127.5, 127.5),
        std: tuple[float, float, float] = (127.5, 127.5, 127.5),
    ) -> None:
        super().__init__(mean=mean, std=std, non_blocking=True)

    def forward(self, data: dict, training: bool = False) -> dict[str, Any]:
        """Move a batch to the device, and normalise images.

        Raises:
            ValueError: If images have not three channels.
        """
        # Only inputs move: nothing on the device needs the ground truth.
        inputs = data['inputs']
        if isinstance(inputs, Sequence):
            if len({item.shape for item in inputs}) > 1:
                inputs = super().forward({'inputs': inputs}, training)['inputs']
                return {**data, 'inputs': inputs}
            # One copy to the device instead of one an image.
            inputs = torch.stack(list(inputs))
        inputs = self.cast_data(inputs).float()
        if inputs.ndim == 4:
            if inputs.shape[1] != 3:
                raise ValueError(f'Expected images (B, 3, H, W), got {tuple(inputs.shape)}.')
            inputs = (inputs - self.mean) / self.std
        return {**data, 'inputs': inputs}

    def to_pixels(self, image: Tensor) -> Tensor:
        """Undo the normalisation: (3, H, W) to [0, 255]."""
        return (image * self.std + self.mean).clamp(0, 255)
