import math
from collections.abc import Sequence

from jaxtyping import Bool, Float
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmocl.models.layers import (
    SoftPositionEmbedding,
    gather_slots,
    scatter_slots,
    transposed_convs,
)
from mmocl.registry import MODELS
from mmocl.structures import Decoded, Target


@MODELS.register_module()
class ConvDecoder(BaseModule):
    """Mix the slots as coarse feature maps, then paint one image: a decoder that is not additive.

    The "NoA" rows of Probabilistic Slot Attention, `arXiv:2406.07141
    <https://arxiv.org/abs/2406.07141>`_, as its released code does it: every slot is copied to a
    canvas with positions and passes two 3x3 convolutions, the canvases are mixed by a softmax over
    slots, and what is left is decoded as one map. The image is ``broadcast_size`` times the product
    of ``strides``.

    There are no masks: the mixture stands on the coarse canvas in front of layers in which slots
    may act on each other's pixels, so it is not a segmentation of the image. Score the attention of
    the slot head instead (``mask_sources=['attention']``), as the authors do.

    Deviation from the released code: there the layers behind the mixture are 3x3 convolutions
    between which the map grows by nearest neighbours; here they are those of
    :class:`SpatialBroadcastDecoder`, so that two models differ in where they mix only.

    Args:
        slot_dim: Slot width D.
        out_channels: Channels of the target.
        channels: Channels of the hidden layers.
        broadcast_size: Height and width of the canvas that a slot is copied to.
        strides: Stride of every 5x5 transposed convolution behind the mixture.
        init_cfg: MMEngine's initialisation config.
    """

    #: Whether the reconstruction comes with masks of the slots.
    has_masks = False
    #: What is reconstructed: an ``'image'``, ``'tokens'``, token ``'ids'`` or a ``'set'``.
    shape = 'image'
    #: The layers in front of the mixture see their canvas whole, so it keeps its size.
    size_multiple: int | None = None

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
        self.channels = channels
        self.broadcast_size = (int(broadcast_size[0]), int(broadcast_size[1]))
        self.position = SoftPositionEmbedding(slot_dim)
        # The last channel says how much a slot takes part.
        self.slot_layers = nn.Sequential(
            nn.Conv2d(slot_dim, channels, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels + 1, 3, padding=1),
        )
        self.activation = nn.ReLU()
        self.layers = transposed_convs(channels, channels, strides, out_channels)

    def forward(
        self,
        slots: Float[Tensor, 'B K D'],
        target: Target | None = None,
        active: Bool[Tensor, '...'] | None = None,
    ) -> Decoded:
        """Decode to images (B, C, H, W), without masks.

        With ``active`` (B, K) only its slots are mixed, as if there were no others. The number of
        active slots is then read back from the device.

        Raises:
            ValueError: If the target has another size than the canvas grows to, ``active`` another
                shape than the slots, or an image no active slot.
        """
        shape = (slots.shape[0], slots.shape[1])
        flat, places = gather_slots(slots, active)
        canvas = flat[:, :, None, None].expand(-1, -1, *self.broadcast_size)
        maps = self.slot_layers(self.position(canvas))
        shares = scatter_slots(maps[:, self.channels], places, shape, fill=-math.inf).softmax(dim=1)
        maps = scatter_slots(maps[:, : self.channels], places, shape)
        recon = self.layers(self.activation((maps * shares[:, :, None]).sum(dim=1)))
        if target is not None and target.values.shape[-2:] != recon.shape[-2:]:
            raise ValueError(
                f'ConvDecoder paints {tuple(recon.shape[-2:])} images, but the target is '
                f'{tuple(target.values.shape[-2:])}; change decoder.broadcast_size or '
                'decoder.strides, or the image size of the dataset.'
            )
        return Decoded(recon)
