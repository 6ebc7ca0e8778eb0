from abc import ABCMeta, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn import functional

from mmocl.models.building import build_losses, build_part
from mmocl.models.layers import at_least_float32, choose_map, map_features
from mmocl.models.parts_fit import require_losses_fit, require_shape
from mmocl.models.seg_heads.token_mask import token_mask
from mmocl.structures import Features, ModelOutput, SlotOutput


class SlotDecodeHead(BaseModule, metaclass=ABCMeta):
    """Base of the heads that put slots into mmsegmentation's ``EncoderDecoder``.

    It has what the segmentor asks of a head, and does not inherit mmsegmentation's
    ``BaseDecodeHead``: this would bring a layer that these heads do not use, so that DDP fails, and
    make mmsegmentation a requirement of the package. Of its arguments ``input_transform``,
    ``sampler``, ``dropout_ratio``, ``align_corners`` (False here) and a single channel for two
    classes are not there. A head writes :meth:`score` and :meth:`loss`.

    The decoder, if there is one, reconstructs the features that the slots were found in (DINOSAUR,
    `arXiv:2209.14860 <https://arxiv.org/abs/2209.14860>`_). They must come from a frozen backbone,
    since a trained one would make them constant. Tokens on padding are zero, belong to no slot, and
    do not count in ``ReconstructionLoss``.

    Args:
        in_channels: Channels of the map that is used.
        slot_head: Tokens to slots.
        decoder: Slots to tokens; None reconstructs nothing.
        target: What is reconstructed, of the features (None: ``FeatureTarget``).
        losses: Losses of the reconstruction, each logged as ``loss_<name>`` (None: a
            ``ReconstructionLoss``).
        in_index: Which of the backbone's maps is used; negative counts from the last.
        init_cfg: MMEngine's initialisation config.

    Raises:
        ValueError: If parts do not fit each other; their config keys are named.
    """

    #: The segmentor resizes with it.
    align_corners = False
    #: The segmentor asks for it where there is a single channel, which these heads never have.
    threshold = None
    #: Channels of the logits.
    out_channels: int
    #: The same: a channel is a class, or a slot.
    num_classes: int

    def __init__(
        self,
        in_channels: int,
        slot_head: dict | nn.Module,
        decoder: dict | nn.Module | None,
        target: dict | nn.Module | None,
        losses: Sequence[dict | nn.Module] | None,
        in_index: int | Sequence[int] = -1,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        name = type(self).__name__
        if not isinstance(in_index, int):
            raise ValueError(f'{name} uses one map: in_index must be an int, got {in_index!r}.')
        self.in_channels = in_channels
        self.in_index = in_index
        self.slot_head: Any = build_part(slot_head, in_channels=in_channels)
        self.decoder: Any = None
        if decoder is None:
            if target is not None or losses is not None:
                raise ValueError(f'{name} has target or losses but no decoder, so nothing to lose.')
            return
        self.target: Any = build_part({'type': 'FeatureTarget'} if target is None else target)
        if not self.target.needs_features:
            raise ValueError(
                f'{name}.target is a {type(self.target).__name__}, but a segmentation head sees '
                'features, not images; take FeatureTarget.'
            )
        slot_dim, width = self.slot_head.slot_dim, self.target.out_channels(in_channels)
        self.decoder = build_part(decoder, slot_dim=slot_dim, out_channels=width)
        losses = [{'type': 'ReconstructionLoss'}] if losses is None else losses
        if not losses:
            raise ValueError(f'{name}.losses is empty, so the decoder would learn nothing.')
        self.losses = build_losses(losses, slot_dim=slot_dim)
        require_shape(self.decoder, 'tokens', f'{name}.target gives', name)
        require_losses_fit(self.losses, self.decoder, 'tokens', name)

    @abstractmethod
    def score(self, features: Features) -> Float[Tensor, 'B C h w']:
        """Return the share of every channel in every token, which may be interpolated."""

    def to_logits(self, shares: Float[Tensor, 'B C H W']) -> Float[Tensor, 'B C H W']:
        """Turn (interpolated) shares into what mmsegmentation takes for logits."""
        return shares

    @abstractmethod
    def loss(
        self, feats: Sequence[Tensor], data_samples: Sequence[Any], train_cfg: dict | None
    ) -> dict[str, Tensor]:
        """Return the losses of a batch by name.

        Args:
            feats: Maps of the backbone.
            data_samples: ``SegDataSample`` of every image.
            train_cfg: Unused; the segmentor passes it.
        """

    def forward(self, feats: Sequence[Tensor]) -> Float[Tensor, 'B C h w']:
        """Turn the maps of the backbone into logits."""
        return self.to_logits(self.score(self.features(feats)))

    def predict(
        self,
        feats: Sequence[Tensor],
        batch_img_metas: Sequence[Mapping[str, Any]],
        test_cfg: Mapping[str, Any],
    ) -> Float[Tensor, 'B C H W']:
        """Return logits at the size of the (padded) images.

        Args:
            feats: Maps of the backbone.
            batch_img_metas: Meta information of every image.
            test_cfg: The segmentor's, with ``mode``.
        """
        # In slide mode the images are windows, and what is known of padding is of the whole.
        slides = test_cfg.get('mode') == 'slide'
        features = self.features(feats, None if slides else batch_img_metas)
        meta = batch_img_metas[0]
        size = (None if slides else meta.get('pad_shape')) or meta['img_shape']
        return self.to_logits(interpolate(self.score(features), features, size[:2]))

    def features(
        self, feats: Sequence[Tensor], metas: Sequence[Mapping[str, Any]] | None = None
    ) -> Features:
        """Turn the chosen map into tokens, with a mask if ``metas`` tell of padding.

        Raises:
            ValueError: If there is no such map, or it has another number of channels.
        """
        maps = [feats] if isinstance(feats, Tensor) else feats
        name = type(self).__name__
        chosen = choose_map(maps, self.in_index, f'{name}.in_index')
        if chosen.shape[1] != self.in_channels:
            raise ValueError(
                f'{name}.in_channels is {self.in_channels}, but map {self.in_index} of the '
                f'backbone has {chosen.shape[1]} channels.'
            )
        features = map_features(chosen)
        mask = None if metas is None else token_mask(metas, features.grid, chosen.device)
        if mask is None:
            return features
        # A decoder that reads tokens shall not see those either.
        tokens = features.tokens.masked_fill(~mask[:, :, None], 0)
        return replace(features, tokens=tokens, mask=mask)

    def reconstruct(self, features: Features, slots: SlotOutput) -> ModelOutput:
        """Decode the slots."""
        target = self.target(None, features)
        return ModelOutput(features, slots, target, self.decoder(slots.slots, target, slots.active))

    def reconstruction_losses(self, output: ModelOutput) -> dict[str, Tensor]:
        """Return the losses of the reconstruction by name.

        Raises:
            ValueError: If the backbone is being trained.
        """
        if output.features.tokens.requires_grad:
            raise ValueError(
                f'{type(self).__name__} reconstructs the features of the backbone (and neck), '
                'which is being trained: it would learn to make them constant. Freeze '
                "it, e.g. backbone=dict(type='mmocl.MapBackbone', frozen=True, output='maps', "
                'backbone=...), or TimmBackbone, which is frozen by default.'
            )
        return {f'loss_{loss.name}': loss(output) for loss in self.losses}


def interpolate(
    shares: Float[Tensor, 'B C h w'], features: Features, size: Sequence[int]
) -> Float[Tensor, 'B C H W']:
    """Interpolate shares of tokens bilinearly, between the tokens that exist.

    In single precision at least, as half types round to ties. Where no token is near (far into the
    padding) all channels have the same share.
    """
    shape = (int(size[0]), int(size[1]))
    shares = at_least_float32(shares)
    if features.mask is None:
        return functional.interpolate(shares, shape, mode='bilinear', align_corners=False)
    exists = features.mask.unflatten(1, features.grid)[:, None].to(shares)
    parts = torch.cat([shares * exists, exists], dim=1)
    parts = functional.interpolate(parts, shape, mode='bilinear', align_corners=False)
    return (parts[:, :-1] + 1e-12) / (parts[:, -1:] + 1e-12 * shares.shape[1])
