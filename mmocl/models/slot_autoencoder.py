from collections.abc import Sequence
from typing import Any

from mmengine.model import BaseModel
from mmengine.structures import PixelData
from torch import Tensor, nn

from mmocl.models.building import build_losses, build_part
from mmocl.models.slot_fields import fill_slots
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
        self.backbone: Any = build_part(backbone)
        self.slot_head: Any = build_part(slot_head, in_channels=self.backbone.out_channels)
        self.target: Any = build_part(target)
        self.decoder: Any = build_part(
            decoder,
            slot_dim=self.slot_head.slot_dim,
            out_channels=self.target.out_channels(self.backbone.out_channels),
        )
        self.losses = build_losses(losses, slot_dim=self.slot_head.slot_dim)

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
        """Fill in masks, attention, slots and (for pixel targets) the reconstruction."""
        output = self.run(inputs)
        samples = data_samples or [SlotDataSample() for _ in inputs]
        fill_slots(samples, output.features, output.slots)
        images = None
        if isinstance(self.target, PixelTarget):
            images = self.target.to_images(output.decoded.recon, (inputs.shape[2], inputs.shape[3]))
        for i, sample in enumerate(samples):
            if output.decoded.masks is not None:
                sample.pred_masks = PixelData(data=output.decoded.masks[i])
            if images is not None:
                sample.pred_image = PixelData(data=self.data_preprocessor.to_pixels(images[i]))
        return samples
