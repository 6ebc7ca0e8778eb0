import math
from collections.abc import Sequence

from jaxtyping import Bool, Float
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmocl.models.layers import (
    SoftPositionEmbedding,
    broadcast_conv,
    gather_slots,
    scatter_slots,
    transposed_convs,
)
from mmocl.registry import MODELS
from mmocl.structures import Decoded, Target


@MODELS.register_module()
class SpatialBroadcastDecoder(BaseModule):
    """Paint every slot on its own canvas by transposed convolutions, then mix the canvases.

    Slot Attention, `arXiv:2006.15055 <https://arxiv.org/abs/2006.15055>`_, table 4 (128x128: a
    canvas of 8x8 and four layers of stride 2; 64x64: a full canvas and stride 1). The image is
    ``broadcast_size`` times the product of ``strides``. The first layer is computed with an exact
    short cut: what it makes of the positions is the same for all slots, see :func:`broadcast_conv`.

    Args:
        slot_dim: Slot width D.
        out_channels: Channels of the target.
        channels: Channels of the hidden layers.
        broadcast_size: Height and width of the canvas that a slot is copied to.
        strides: Stride of every 5x5 transposed convolution.
        init_cfg: MMEngine's initialisation config.
    """

    #: Whether the reconstruction comes with masks of the slots.
    has_masks = True
    #: What is reconstructed: an ``'image'``, ``'tokens'``, token ``'ids'`` or a ``'set'``.
    shape = 'image'

    def __init__(
        self,
        slot_dim: int,
        out_channels: int = 3,
        channels: int = 64,
        broadcast_size: tuple[int, int] = (8, 8),
        strides: Sequence[int] = (2, 2, 2, 2, 1),
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.out_channels = out_channels
        self.broadcast_size = (int(broadcast_size[0]), int(broadcast_size[1]))
        self.position = SoftPositionEmbedding(slot_dim)
        #: Sides of the image must be multiples of it.
        self.size_multiple = math.prod(strides)
        self.layers = transposed_convs(slot_dim, channels, strides, out_channels + 1)

    def forward(
        self,
        slots: Float[Tensor, 'B K D'],
        target: Target | None = None,
        active: Bool[Tensor, '...'] | None = None,
    ) -> Decoded:
        """Decode to images (B, C, H, W), masks (B, K, H, W) and an image a slot (B, K, C, H, W).

        With ``active`` (B, K) only its slots are painted; masks and images of the others are 0. The
        number of active slots is then read back from the device. In evaluation mode the canvas is
        that which grows to the size of the target, if there is one; its corners stay those of the
        picture.

        Raises:
            ValueError: If the target has another size than the canvas grows to, ``active`` another
                shape than the slots, or an image no active slot.
        """
        shape = (slots.shape[0], slots.shape[1])
        flat, places = gather_slots(slots, active)
        first, *others = self.layers
        assert isinstance(first, nn.ConvTranspose2d)
        canvas = self._canvas(target)
        painted = broadcast_conv(first, flat, self.position.at(canvas))
        for layer in others:
            painted = layer(painted)
        if target is not None and target.values.shape[-2:] != painted.shape[-2:]:
            raise ValueError(
                f'SpatialBroadcastDecoder paints {tuple(painted.shape[-2:])} images, but the '
                f'target is {tuple(target.values.shape[-2:])}; change decoder.broadcast_size or '
                'decoder.strides, or the image size of the dataset.'
            )
        slot_recons = scatter_slots(painted[:, : self.out_channels], places, shape)
        alpha = scatter_slots(painted[:, self.out_channels], places, shape, fill=-math.inf)
        masks = alpha.softmax(dim=1)
        recon = (slot_recons * masks[:, :, None]).sum(dim=1)
        return Decoded(recon, masks, slot_recons)

    def _canvas(self, target: Target | None) -> tuple[int, int]:
        """Height and width of the canvas: the own ones in training."""
        if self.training or target is None:
            return self.broadcast_size
        height, width = target.values.shape[-2:]
        if height % self.size_multiple or width % self.size_multiple:
            return self.broadcast_size
        return height // self.size_multiple, width // self.size_multiple
