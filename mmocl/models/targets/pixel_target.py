from jaxtyping import Float
from mmengine.model import BaseModule
from torch import Tensor

from mmocl.registry import MODELS
from mmocl.structures import Features, Target


@MODELS.register_module()
class PixelTarget(BaseModule):
    """Reconstruct the normalised input image."""

    def out_channels(self, in_channels: int) -> int:
        """Channels of the target, given those of the backbone."""
        return 3

    def forward(self, images: Float[Tensor, 'B 3 H W'] | None, features: Features) -> Target:
        """Return the images.

        Raises:
            ValueError: If the model was fed cached tokens, which hold no pixels.
        """
        if images is None:
            raise ValueError('PixelTarget needs images, but the model was given cached tokens.')
        return Target(images)
