from collections.abc import Sequence
from inspect import signature
from typing import Any

import torch
from mmengine.model import BaseModel
from mmengine.structures import InstanceData, PixelData
from torch import Tensor, nn

from mmocl.models.backbones import TokenBackbone
from mmocl.models.parts_fit import require_parts_fit, require_tokenizer
from mmocl.registry import MODELS
from mmocl.structures import (
    Codes,
    Decoded,
    Features,
    ModelOutput,
    SlotDataSample,
    SlotOutput,
    Target,
)


@MODELS.register_module()
class SlotAutoencoder(BaseModel):
    """Images to slots and back: the one unsupervised model of the package, six plugs and one more.

    Inputs are images, or tokens (B, N, C) that a frozen backbone gave before; these enter where the
    backbone's output would. Widths that are not given are inferred: ``in_channels`` of the slot
    head from the backbone, ``slot_dim`` and ``out_channels`` of the decoder from slot head and
    target, ``slot_dim`` of the losses that have it, ``vocab_size`` of target and decoder from the
    tokenizer.

    Args:
        backbone: Images to tokens.
        slot_head: Tokens to slots; its ``initializer`` says where slots start, its ``gradient`` how
            the iterations are differentiated.
        decoder: Slots to reconstruction and masks.
        target: What is reconstructed.
        losses: Loss configs; each is logged as ``loss_<name>``.
        tokenizer: Images to discrete tokens, for ``TokenTarget`` and ``TokenBackbone``. It is
            trained along, by the loss that it brings.
        data_preprocessor: See :class:`SlotDataPreprocessor`.
        init_cfg: MMEngine's initialisation config.

    Raises:
        ValueError: If parts do not fit each other; their config keys are named.
    """

    def __init__(
        self,
        backbone: dict | nn.Module,
        slot_head: dict | nn.Module,
        decoder: dict | nn.Module,
        target: dict | nn.Module,
        losses: Sequence[dict | nn.Module],
        tokenizer: dict | nn.Module | None = None,
        data_preprocessor: dict | nn.Module | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(data_preprocessor or {'type': 'SlotDataPreprocessor'}, init_cfg)
        self.tokenizer: Any = None if tokenizer is None else _build(tokenizer)
        self.backbone: Any = _build(backbone)
        self.slot_head: Any = _build(slot_head, in_channels=self.backbone.out_channels)
        codes = {} if self.tokenizer is None else {'vocab_size': self.tokenizer.vocab_size}
        require_tokenizer(tokenizer, target)
        self.target: Any = _build(target, **codes)
        self.decoder: Any = _build(
            decoder,
            slot_dim=self.slot_head.slot_dim,
            out_channels=self.target.out_channels(self.backbone.out_channels),
            **(codes if self.target.needs_codes else {}),
        )
        built = [_build(loss, slot_dim=self.slot_head.slot_dim) for loss in losses]
        names = [loss.name for loss in built]
        if len(set(names)) != len(names):
            raise ValueError(f'Losses need different names, got {names}.')
        self.losses = nn.ModuleList(built)
        require_parts_fit(self)

    def tokenize(self, inputs: Tensor) -> Codes | None:
        """Run the tokenizer, if there is one."""
        return None if self.tokenizer is None else self.tokenizer(inputs)

    def extract(self, inputs: Tensor, codes: Codes | None = None) -> Features:
        """Run the backbone, or take tokens (B, N, C) as they are."""
        if isinstance(self.backbone, TokenBackbone):
            codes = self.tokenize(inputs) if codes is None else codes
            return self.backbone(codes, self.decoder.embedding)
        if inputs.ndim == 4:
            return self.backbone(inputs)
        side = round(inputs.shape[1] ** 0.5)
        if side * side != inputs.shape[1]:
            raise ValueError(f'Cached tokens must come from a square grid, got {inputs.shape[1]}.')
        return Features(inputs, (side, side))

    def encode(
        self, inputs: Tensor, num_slots: int | None = None, num_iters: int | None = None
    ) -> SlotOutput:
        """Find the slots, with other counts than the slot head's own if given."""
        return self.slot_head(self.extract(inputs), num_slots, num_iters)

    def decode(
        self, slots: Tensor, target: Target | None = None, active: Tensor | None = None
    ) -> Decoded:
        """Reconstruct from slots, from the ``active`` ones (B, K) if that is given."""
        return self.decoder(slots, target, active)

    def to_images(self, decoded: Decoded) -> Tensor | None:
        """Return the reconstruction as normalised images, None if it is of features."""
        return self.target.to_images(decoded, self.tokenizer)

    def run(self, inputs: Tensor) -> ModelOutput:
        """Run all stages."""
        codes = self.tokenize(inputs)
        features = self.extract(inputs, codes)
        slots = self.slot_head(features)
        target = self.target(inputs if inputs.ndim == 4 else None, features, codes)
        return ModelOutput(features, slots, target, self.decode(slots.slots, target, slots.active))

    def forward(
        self,
        inputs: Tensor,
        data_samples: list[SlotDataSample] | None = None,
        mode: str = 'tensor',
    ) -> Any:
        """MMEngine's entry: ``mode`` is 'loss', 'predict' or 'tensor'."""
        if mode == 'loss':
            return self.loss(inputs)
        if mode == 'predict':
            return self.predict(inputs, data_samples)
        if mode == 'tensor':
            return self.run(inputs)
        raise ValueError(f"mode must be 'loss', 'predict' or 'tensor', got {mode!r}.")

    def loss(self, inputs: Tensor) -> dict[str, Tensor]:
        """Return the losses of a batch by name."""
        output = self.run(inputs)
        losses = {f'loss_{name}': value for name, value in output.target.losses.items()}
        return losses | {f'loss_{loss.name}': loss(output) for loss in self.losses}

    def predict(
        self, inputs: Tensor, data_samples: list[SlotDataSample] | None = None
    ) -> list[SlotDataSample]:
        """Fill in masks, attention, slots and (unless it is of features) the reconstruction.

        An autoregressive decoder is fed the true target; :meth:`decode` without one samples.
        ``pred_slots`` holds ``slots`` (K, D), ``active`` (K,), False for the slots that were not
        decoded, and the mixing ``weight`` (K,) if the slot head fits a mixture.
        """
        output = self.run(inputs)
        slots, active = output.slots, output.slots.active
        if active is None:
            active = torch.ones(slots.slots.shape[:2], dtype=torch.bool, device=inputs.device)
        samples = data_samples or [SlotDataSample() for _ in inputs]
        attn = slots.attn.unflatten(2, output.features.grid)
        images = self.to_images(output.decoded)
        errors = None
        if self.target.shape != 'ids':
            squares = (output.decoded.recon - output.target.values).square()
            errors = squares.flatten(1).mean(dim=1)
        for i, sample in enumerate(samples):
            sample.pred_attn = PixelData(data=attn[i])
            sample.pred_slots = InstanceData(slots=slots.slots[i], active=active[i])
            if slots.state.log_weight is not None:
                sample.pred_slots.weight = slots.state.log_weight[i].exp()
            if output.decoded.masks is not None:
                sample.pred_masks = PixelData(data=output.decoded.masks[i])
            if errors is not None:
                sample.recon_error = errors[i]
            if images is not None:
                sample.pred_image = PixelData(data=self.data_preprocessor.to_pixels(images[i]))
        return samples


def _build(part: dict | nn.Module, **inferred: int) -> Any:
    """Build a part from its config.

    It gets the inferred widths that it has arguments for; they yield to given ones.
    """
    if isinstance(part, nn.Module):
        return part
    kind = part.get('type')
    kind = MODELS.get(kind) if isinstance(kind, str) else kind
    # What has no type gets its error where it is built.
    asked = signature(kind).parameters if kind else {}
    known = {name: width for name, width in inferred.items() if name in asked}
    return MODELS.build({**known, **part})
