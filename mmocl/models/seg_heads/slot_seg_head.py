from collections.abc import Mapping, Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from mmocl.models.seg_heads.base import SlotDecodeHead
from mmocl.registry import MODELS
from mmocl.structures import Features


@MODELS.register_module()
class SlotSegHead(SlotDecodeHead):
    """Unsupervised segmentation of mmsegmentation's images: every slot is a segment.

    The slots are trained by reconstructing the features of a frozen backbone, as DINOSAUR does
    (`arXiv:2209.14860 <https://arxiv.org/abs/2209.14860>`_); labels are not looked at. Slots are no
    classes, and any slot may find any object: score them by ``mmocl.ObjectDiscoveryMetric`` with
    ``mask_sources=['segmentor']`` on a ``mmocl.SlotSegDataset``, and not by class IoU.

    The "logits" are the soft masks themselves, which sum to one over the slots, so that what
    mmsegmentation does next is what our metrics do: resize soft masks, then take the best slot.
    Views of an image find its slots in another order: do not merge them (``SegTTAModel``, slide
    mode, which is refused).

    Args:
        in_channels: Channels of the map that is used.
        slot_head: Tokens to slots; the ``num_slots`` of its initializer is the number of segments.
        decoder: Slots to tokens, e.g. ``MLPDecoder``, which needs the token grid of all images.
        target: What is reconstructed, of the features (None: ``FeatureTarget``).
        losses: Losses of the reconstruction, each logged as ``decode.loss_<name>`` (None: a
            ``ReconstructionLoss``).
        masks: Which masks are the segments: of the ``'decoder'``, or the ``'attention'`` of the
            slot head, which needs no decoder in a test and so takes images of any size there.
        in_index: Which of the backbone's maps is used; negative counts from the last.
        init_cfg: MMEngine's initialisation config.

    Raises:
        ValueError: If parts do not fit each other, there are no such masks, or there are fewer
            than two slots.
    """

    def __init__(
        self,
        in_channels: int,
        slot_head: dict | nn.Module,
        decoder: dict | nn.Module | None,
        target: dict | nn.Module | None = None,
        losses: Sequence[dict | nn.Module] | None = None,
        masks: str = 'decoder',
        in_index: int | Sequence[int] = -1,
        init_cfg: dict | None = None,
    ) -> None:
        if decoder is None:
            raise ValueError('SlotSegHead learns by its decoder, but decoder is None.')
        super().__init__(in_channels, slot_head, decoder, target, losses, in_index, init_cfg)
        if masks not in ('decoder', 'attention'):
            raise ValueError(f"masks must be 'decoder' or 'attention', got {masks!r}.")
        if masks == 'decoder' and not getattr(self.decoder, 'has_masks', True):
            raise ValueError(
                f"masks='decoder', but a {type(self.decoder).__name__} gives none; take "
                "masks='attention'."
            )
        self.masks = masks
        self.num_classes = self.out_channels = self.slot_head.initializer.num_slots
        if self.num_classes < 2:
            raise ValueError(
                f'SlotSegHead parts an image into num_slots segments; expected at least 2, got '
                f'{self.num_classes}.'
            )

    def score(self, features: Features) -> Float[Tensor, 'B K h w']:
        """Return the soft masks of the slots."""
        slots = self.slot_head(features)
        if self.masks == 'attention':
            return slots.attn.unflatten(2, features.grid)
        masks = self.reconstruct(features, slots).decoded.masks
        assert masks is not None
        return masks

    def loss(
        self, feats: Sequence[Tensor], data_samples: Sequence[Any], train_cfg: dict | None
    ) -> dict[str, Tensor]:
        """Return the losses of the reconstruction by name.

        Args:
            feats: Maps of the backbone.
            data_samples: ``SegDataSample`` of every image; only its padding is read.
            train_cfg: Unused; the segmentor passes it.

        Raises:
            ValueError: If the backbone is being trained.
        """
        features = self.features(feats, [sample.metainfo for sample in data_samples])
        return self.reconstruction_losses(self.reconstruct(features, self.slot_head(features)))

    def predict(
        self,
        feats: Sequence[Tensor],
        batch_img_metas: Sequence[Mapping[str, Any]],
        test_cfg: Mapping[str, Any],
    ) -> Float[Tensor, 'B K H W']:
        """Return soft masks at the size of the (padded) images; slide mode is refused."""
        if test_cfg.get('mode') == 'slide':
            raise ValueError(
                "model.test_cfg.mode is 'slide', but the slots of different windows are not the "
                "same objects, so that they cannot be averaged; expected mode='whole'."
            )
        return super().predict(feats, batch_img_metas, test_cfg)
