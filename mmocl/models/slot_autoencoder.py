from collections.abc import Sequence
from typing import Any, Unpack

from jaxtyping import Float
from mmengine.model import BaseModel
from mmengine.structures import PixelData
from torch import Tensor, nn

from mmocl.models.backbones import TokenBackbone
from mmocl.models.building import build_backbone, build_losses, build_part
from mmocl.models.parts_fit import require_parts_fit, require_tokenizer
from mmocl.models.slot_fields import fill_slots
from mmocl.registry import MODELS
from mmocl.structures import (
    Codes,
    Decoded,
    Features,
    ModelOutput,
    SlotDataSample,
    SlotOptions,
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
        backbone: Images to tokens, or to maps as mmsegmentation's backbones do, see
            :class:`MapBackbone`.
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
        super().__init__(
            build_part(data_preprocessor or {'type': 'SlotDataPreprocessor'}), init_cfg
        )
        self.tokenizer: Any = None if tokenizer is None else build_part(tokenizer)
        self.backbone: Any = build_backbone(backbone)
        self.slot_head: Any = build_part(slot_head, in_channels=self.backbone.out_channels)
        codes = {} if self.tokenizer is None else {'vocab_size': self.tokenizer.vocab_size}
        require_tokenizer(tokenizer, target)
        self.target: Any = build_part(target, **codes)
        self.decoder: Any = build_part(
            decoder,
            slot_dim=self.slot_head.slot_dim,
            out_channels=self.target.out_channels(self.backbone.out_channels),
            **(codes if self.target.needs_codes else {}),
        )
        self.losses = build_losses(losses, slot_dim=self.slot_head.slot_dim)
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

    def encode(self, inputs: Tensor, **options: Unpack[SlotOptions]) -> SlotOutput:
        """Find the slots; ``options`` are those of the slot head, such as ``num_slots``."""
        return self.slot_head(self.extract(inputs), **options)

    def decode(
        self, slots: Tensor, target: Target | None = None, active: Tensor | None = None
    ) -> Decoded:
        """Reconstruct from slots, from the ``active`` ones (B, K) if that is given."""
        return self.decoder(slots, target, active)

    def to_images(self, decoded: Decoded) -> Tensor | None:
        """Return the reconstruction as normalised images, None if it is of features."""
        return self.target.to_images(decoded, self.tokenizer)

    def run(self, inputs: Tensor, **options: Unpack[SlotOptions]) -> ModelOutput:
        """Run all stages; ``options`` are those of the slot head."""
        codes = self.tokenize(inputs)
        features = self.extract(inputs, codes)
        slots = self.slot_head(features, **options)
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
        self,
        inputs: Tensor,
        data_samples: list[SlotDataSample] | None = None,
        **options: Unpack[SlotOptions],
    ) -> list[SlotDataSample]:
        """Fill in masks, attention, slots and (unless it is of features) the reconstruction.

        An autoregressive decoder is fed the true target; :meth:`decode` without one samples.
        ``options`` are those of the slot head; with ``keep_steps`` what a decoder paints from every
        slot alone is kept too.
        """
        output = self.run(inputs, **options)
        samples = data_samples or [SlotDataSample() for _ in inputs]
        fill_slots(samples, output.features, output.slots)
        images = self.to_images(output.decoded)
        slot_images = self._slot_images(output.decoded) if options.get('keep_steps') else None
        errors = None
        if self.target.shape != 'ids':
            difference = output.decoded.recon.float() - output.target.values
            errors = difference.square().flatten(1).mean(dim=1)
        for i, sample in enumerate(samples):
            if output.decoded.masks is not None:
                sample.pred_masks = PixelData(data=output.decoded.masks[i])
            if errors is not None:
                sample.recon_error = errors[i]
            if images is not None:
                sample.pred_image = PixelData(data=self.data_preprocessor.to_pixels(images[i]))
            if slot_images is not None:
                sample.pred_slot_images = self.data_preprocessor.to_pixels(slot_images[i])
        return samples

    def _slot_images(self, decoded: Decoded) -> Float[Tensor, 'B K 3 H W'] | None:
        """What the decoder paints from every slot alone; None if it mixes them before it paints."""
        if decoded.slot_recons is None:
            return None
        shape = decoded.slot_recons.shape[:2]
        images = self.to_images(Decoded(decoded.slot_recons.flatten(0, 1)))
        return None if images is None else images.unflatten(0, shape)
