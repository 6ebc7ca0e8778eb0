from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from mmocl.models.layers import at_least_float32, require
from mmocl.models.seg_heads.base import SlotDecodeHead, interpolate
from mmocl.registry import MODELS
from mmocl.structures import Features, SlotOutput


@MODELS.register_module()
class SlotSemanticHead(SlotDecodeHead):
    """Semantic segmentation with slots as region queries, trained by mmsegmentation's own losses.

    Every slot predicts a distribution over the classes, the attention of the slot head says how
    much of every token belongs to which slot, and their product is the distribution of a token::

        p(class | token) = sum over slots of attn(slot | token) p(class | slot)

    as MaskFormer (`arXiv:2107.06278 <https://arxiv.org/abs/2107.06278>`_) infers semantics from its
    queries, with masks that compete for tokens, and so no class "no object". The logits are the log
    of this, whose softmax it is, so that ``CrossEntropyLoss`` is the likelihood of the labels.
    Shares are interpolated to the size of the input before the log.

    Args:
        in_channels: Channels of the map that is used.
        slot_head: Tokens to slots.
        num_classes: Number of classes, the background of VOC included.
        loss_decode: mmsegmentation's losses, with softmax; names need no prefix.
        ignore_index: Label of pixels that do not count.
        step_weight: Weight of the losses of every update before the last one (deep supervision),
            logged as ``step<i>.<name>``; needs ``gradient='unrolled'`` in the slot head, and more
            updates than one.
        decoder: Slots to tokens, for a reconstruction of the features beside the labels; None:
            there is none, and the backbone may be trained.
        target: What is reconstructed, of the features (None: ``FeatureTarget``).
        losses: Losses of the reconstruction, each logged as ``decode.loss_<name>`` (None: a
            ``ReconstructionLoss``); their ``weight`` stands against that of ``loss_decode``.
        in_index: Which of the backbone's maps is used; negative counts from the last.
        init_cfg: MMEngine's initialisation config.

    Raises:
        ImportError: If mmsegmentation is not installed.
        ValueError: If parts do not fit each other, there are fewer than two classes, a loss is one
            with sigmoids, or there are no earlier updates to supervise.
    """

    def __init__(
        self,
        in_channels: int,
        slot_head: dict | nn.Module,
        num_classes: int,
        loss_decode: dict | nn.Module | Sequence[dict | nn.Module] | None = None,
        ignore_index: int = 255,
        step_weight: float = 0.0,
        decoder: dict | nn.Module | None = None,
        target: dict | nn.Module | None = None,
        losses: Sequence[dict | nn.Module] | None = None,
        in_index: int | Sequence[int] = -1,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(in_channels, slot_head, decoder, target, losses, in_index, init_cfg)
        if num_classes < 2:
            raise ValueError(f'num_classes must be at least 2, got {num_classes}.')
        if step_weight and self.slot_head.gradient != 'unrolled':
            raise ValueError(
                f"step_weight={step_weight} needs slot_head.gradient='unrolled': with "
                f'{self.slot_head.gradient!r} the earlier updates have no gradient.'
            )
        if step_weight and self.slot_head.num_iters + self.slot_head.extra_step < 2:
            raise ValueError(
                f'step_weight={step_weight} needs updates before the last one, but '
                f'slot_head.num_iters is {self.slot_head.num_iters}.'
            )
        self.num_classes = self.out_channels = num_classes
        self.ignore_index = ignore_index
        self.step_weight = step_weight
        slot_dim = self.slot_head.slot_dim
        self.classify = nn.Sequential(nn.LayerNorm(slot_dim), nn.Linear(slot_dim, num_classes))
        loss_decode = {'type': 'CrossEntropyLoss'} if loss_decode is None else loss_decode
        listed = [loss_decode] if isinstance(loss_decode, dict | nn.Module) else loss_decode
        self.loss_decode = nn.ModuleList(_build_loss(loss) for loss in listed)

    def score(self, features: Features) -> Float[Tensor, 'B C h w']:
        """Return the distribution over the classes of every token."""
        return self.shares(self.slot_head(features), features.grid)

    def shares(self, slots: SlotOutput, grid: tuple[int, int]) -> Float[Tensor, 'B C h w']:
        """Return the distribution over the classes of every token, in single precision at least.

        No share is 0, so that all have a finite log.
        """
        classes = at_least_float32(self.classify(slots.slots)).softmax(dim=2)
        with torch.autocast(classes.device.type, enabled=False):
            shares = classes.transpose(1, 2) @ at_least_float32(slots.attn)
        return shares.clamp_min(torch.finfo(torch.float32).tiny).unflatten(2, grid)

    def to_logits(self, shares: Float[Tensor, 'B C H W']) -> Float[Tensor, 'B C H W']:
        """Return the log of the distributions, in their place where no gradient needs them."""
        return shares.log() if shares.requires_grad else shares.log_()

    def loss(
        self, feats: Sequence[Tensor], data_samples: Sequence[Any], train_cfg: dict | None
    ) -> dict[str, Tensor]:
        """Return the losses of a batch by name, and ``acc_seg``, the share of right pixels in %.

        Args:
            feats: Maps of the backbone.
            data_samples: ``SegDataSample`` of every image, with ``gt_sem_seg``.
            train_cfg: Unused; the segmentor passes it.

        Raises:
            ValueError: If a label is neither one of the classes nor ``ignore_index``, or the
                features are reconstructed and the backbone is being trained.
        """
        features = self.features(feats, [sample.metainfo for sample in data_samples])
        slots = self.slot_head(features, keep_steps=bool(self.step_weight))
        labels = torch.cat([sample.gt_sem_seg.data for sample in data_samples])
        self._require_known(labels)
        logits = self._logits(slots, features, labels)
        losses = self._label_losses(logits, labels)
        counts = labels != self.ignore_index
        right = (logits.detach().argmax(dim=1) == labels) & counts
        losses['acc_seg'] = 100 * right.sum() / counts.sum().clamp_min(1)
        for i, step in enumerate(slots.steps or ()):
            of_step = self._label_losses(self._logits(step, features, labels), labels)
            losses |= {f'step{i}.{k}': self.step_weight * v for k, v in of_step.items()}
        if self.decoder is not None:
            losses |= self.reconstruction_losses(self.reconstruct(features, slots))
        return losses

    def _logits(
        self, slots: SlotOutput, features: Features, labels: Int64[Tensor, 'B H W']
    ) -> Float[Tensor, 'B C H W']:
        shares = self.shares(slots, features.grid)
        return self.to_logits(interpolate(shares, features, labels.shape[1:]))

    def _label_losses(
        self, logits: Float[Tensor, 'B C H W'], labels: Int64[Tensor, 'B H W']
    ) -> dict[str, Tensor]:
        """Run mmsegmentation's losses; those of one name are added."""
        losses: dict[str, Tensor] = {}
        for loss in self.loss_decode:
            value = loss(logits, labels, ignore_index=self.ignore_index)
            name = str(loss.loss_name)
            losses[name] = losses[name] + value if name in losses else value
        return losses

    def _require_known(self, labels: Int64[Tensor, 'B H W']) -> None:
        unknown = ((labels < 0) | (labels >= self.num_classes)) & (labels != self.ignore_index)
        require(
            ~unknown.any(),
            f'gt_sem_seg holds labels that SlotSemanticHead.num_classes={self.num_classes} (and '
            f'ignore_index={self.ignore_index}) does not cover.',
            lambda: f'They are {labels[unknown].unique().tolist()}.',
        )


def _build_loss(loss: dict | nn.Module) -> Any:
    """Build a loss as in a run of mmsegmentation, and refuse one that needs other logits."""
    built = MODELS.build({'_scope_': 'mmseg', **loss}) if isinstance(loss, dict) else loss
    if getattr(built, 'use_sigmoid', False) or getattr(built, 'use_mask', False):
        raise ValueError(
            f'loss_decode: this {type(built).__name__} takes logits of single classes (use_sigmoid '
            'or use_mask), but those of SlotSemanticHead are log-probabilities of all; expected a '
            "loss with softmax: CrossEntropyLoss, or dict(type='DiceLoss', use_sigmoid=False)."
        )
    return built
