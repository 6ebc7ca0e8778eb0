from collections.abc import Sequence
from math import prod

from jaxtyping import Float
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmocl.models.layers import SoftPositionEmbedding, map_features
from mmocl.registry import MODELS
from mmocl.structures import Features


@MODELS.register_module()
class ConvEncoder(BaseModule):
    """Plain convolutions with a soft position embedding, trained from scratch.

    Slot Attention, `arXiv:2006.15055 <https://arxiv.org/abs/2006.15055>`_, table 3: four 5x5 layers
    of 64 channels with ReLU. The layer norm and MLP that follow there belong to the slot head here
    (``embed_channels``), as frozen backbones need them too.

    Args:
        channels: Channels of every layer.
        strides: Stride of every layer; their number is the number of layers.
        kernel_size: Kernel size of every layer.
        in_channels: Channels of the images.
        init_cfg: MMEngine's initialisation config.
    """

    def __init__(
        self,
        channels: int = 64,
        strides: Sequence[int] = (1, 1, 1, 1),
        kernel_size: int = 5,
        in_channels: int = 3,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.out_channels = channels
        #: Sides of images that tokens tile without a rest.
        self.size_multiple = prod(strides)
        layers: list[nn.Module] = []
        for i, stride in enumerate(strides):
            layers += [
                nn.Conv2d(
                    channels if i else in_channels,
                    channels,
                    kernel_size,
                    stride=stride,
                    padding=kernel_size // 2,
                ),
                nn.ReLU(inplace=True),
            ]
        self.layers = nn.Sequential(*layers)
        self.position = SoftPositionEmbedding(channels)

    def forward(self, images: Float[Tensor, 'B 3 H W']) -> Features:
        """Encode images to tokens of ``channels`` channels."""
        return map_features(self.position(self.layers(images)))
