from collections.abc import Sequence
from inspect import signature
from typing import Any

import torch
from mmengine.model import BaseModel
from mmengine.structures import InstanceData, PixelData
from torch import Tensor, nn

from mmocl.models.targets import PixelTarget
from mmocl.registry import MODELS
from mmocl.structures import (
    Decoded,
    Features,
    ModelOutput,
    SlotDataSample,
    SlotOutput,
    Target,
)


@MODELS.register_module()
class SlotAutoencoder(BaseModel):
    """Images to slots and back: the one unsupervised model of the package, six plugs.

    Inputs are images, or tokens (B, N, C) that a frozen backbone gave before; these enter where the
    backbone's output would. Widths that are not given are inferred: ``in_channels`` of the slot
    head from the backbone, ``slot_dim`` and ``out_channels`` of the decoder from slot head and
    target, ``slot_dim`` of the losses that have it.

    Args:
        backbone: Images to tokens.
        slot_head: Tokens to slots; its ``initializer`` says where slots start, its ``gradient`` how
            the iterations are differentiated.
        decoder: Slots to reconstruction and masks.
        target: What is reconstructed.
        losses: Loss configs; each is logged as ``loss_<name>``.
        data_preprocessor: See :class:`SlotDataPreprocessor`.
        init_cfg: MMEngine's initialisation config.
    """

    def __init__(
        self,
        backbone: dict | nn.Module,
        slot_head: dict | nn.Module,
        decoder: dict | nn.Module,
        target: dict | nn.Module,
        losses: Sequence[dict | nn.Module],
        data_preprocessor: dict | nn.Module | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(data_preprocessor or {'type': 'SlotDataPreprocessor'}, init_cfg)
        self.backbone: Any = _build(backbone)
        self.slot_head: Any = _build(slot_head, in_channels=self.backbone.out_channels)
        self.target: Any = _build(target)
        self.decoder: Any = _build(
            decoder,
            slot_dim=self.slot_head.slot_dim,
            out_channels=self.target.out_channels(self.backbone.out_channels),
        )
        built = [_build_loss(loss, slot_dim=self.slot_head.slot_dim) for loss in losses]
        names = [loss.name for loss in built]
        if len(set(names)) != len(names):
            raise ValueError(f'Losses need different names, got {names}.')
        self.losses = nn.ModuleList(built)

    def extract(self, inputs: Tensor) -> Features:
        """Run the backbone, or take tokens (B, N, C) as they are."""
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

    def run(self, inputs: Tensor) -> ModelOutput:
        """Run all stages."""
        features = self.extract(inputs)
        slots = self.slot_head(features)
        target = self.target(inputs if inputs.ndim == 4 else None, features)
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
        """Fill in masks, attention, slots and (for pixel targets) the reconstruction.

        ``pred_slots`` holds ``slots`` (K, D), ``active`` (K,), False for the slots that were not
        decoded, and the mixing ``weight`` (K,) if the slot head fits a mixture.
        """
        output = self.run(inputs)
        slots, active = output.slots, output.slots.active
        if active is None:
            active = torch.ones(slots.slots.shape[:2], dtype=torch.bool, device=inputs.device)
        samples = data_samples or [SlotDataSample() for _ in inputs]
        attn = slots.attn.unflatten(2, output.features.grid)
        images = None
        if isinstance(self.target, PixelTarget):
            images = self.target.to_images(output.decoded.recon, (inputs.shape[2], inputs.shape[3]))
        for i, sample in enumerate(samples):
            sample.pred_attn = PixelData(data=attn[i])
            sample.pred_slots = InstanceData(slots=slots.slots[i], active=active[i])
            if slots.state.log_weight is not None:
                sample.pred_slots.weight = slots.state.log_weight[i].exp()
            if output.decoded.masks is not None:
                sample.pred_masks = PixelData(data=output.decoded.masks[i])
            if images is not None:
                sample.pred_image = PixelData(data=self.data_preprocessor.to_pixels(images[i]))
        return samples


def _build(part: dict | nn.Module, **inferred: int) -> Any:
    """Build a part from its config; inferred widths yield to given ones."""
    return part if isinstance(part, nn.Module) else MODELS.build({**inferred, **part})


def _build_loss(loss: dict | nn.Module, **inferred: int) -> Any:
    """Build a loss from its config; it gets the inferred widths that it has arguments for."""
    if isinstance(loss, nn.Module):
        return loss
    kind = loss.get('type')
    kind = MODELS.get(kind) if isinstance(kind, str) else kind
    # What has no type gets its error where it is built.
    asked = signature(kind).parameters if kind else {}
    return _build(loss, **{name: width for name, width in inferred.items() if name in asked})
