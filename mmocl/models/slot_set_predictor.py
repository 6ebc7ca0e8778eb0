from collections.abc import Sequence
from typing import Any, Unpack

import torch
from jaxtyping import Float
from mmengine.model import BaseModel
from torch import Tensor, nn

from mmocl.models.building import build_backbone, build_losses, build_part
from mmocl.models.parts_fit import require_set_parts_fit
from mmocl.models.slot_fields import fill_slots
from mmocl.registry import MODELS
from mmocl.structures import (
    Decoded,
    Features,
    ModelOutput,
    SlotDataSample,
    SlotOptions,
    SlotOutput,
    Target,
)


@MODELS.register_module()
class SlotSetPredictor(BaseModel):
    """Images to sets of objects with properties, one a slot, trained with these properties.

    Slot Attention, `arXiv:2006.15055 <https://arxiv.org/abs/2006.15055>`_, section 3.2, and SMM,
    `arXiv:2311.04640 <https://arxiv.org/abs/2311.04640>`_. It shares backbones, slot heads and
    losses on slots with :class:`SlotAutoencoder`: here the target of the output is the true set,
    (B, K, P) with rows of zeros as padding, and its reconstruction is the predicted one. Training
    data need properties in ``gt_objects``.

    Args:
        backbone: Images to tokens, or to maps as mmsegmentation's backbones do, see
            :class:`MapBackbone`.
        slot_head: Tokens to slots, see :class:`SlotAutoencoder`.
        decoder: Slots to sets, :class:`PropertyDecoder`; its ``properties`` say what is predicted.
        losses: Loss configs, such as :class:`SetPredictionLoss`; each is logged as ``loss_<name>``.
        data_preprocessor: See :class:`SlotDataPreprocessor`.
        init_cfg: MMEngine's initialisation config.

    Raises:
        ValueError: If two losses have the same name, or a part is not about sets.
    """

    def __init__(
        self,
        backbone: dict | nn.Module,
        slot_head: dict | nn.Module,
        decoder: dict | nn.Module,
        losses: Sequence[dict | nn.Module],
        data_preprocessor: dict | nn.Module | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(
            build_part(data_preprocessor or {'type': 'SlotDataPreprocessor'}), init_cfg
        )
        self.backbone: Any = build_backbone(backbone)
        self.slot_head: Any = build_part(slot_head, in_channels=self.backbone.out_channels)
        self.decoder: Any = build_part(decoder, slot_dim=self.slot_head.slot_dim)
        self.losses = build_losses(losses, slot_dim=self.slot_head.slot_dim)
        require_set_parts_fit(self)

    def extract(self, inputs: Tensor) -> Features:
        """Run the backbone."""
        return self.backbone(inputs)

    def encode(self, inputs: Tensor, **options: Unpack[SlotOptions]) -> SlotOutput:
        """Find the slots; ``options`` are those of the slot head, such as ``num_slots``."""
        return self.slot_head(self.extract(inputs), **options)

    def decode(
        self, slots: Tensor, target: Target | None = None, active: Tensor | None = None
    ) -> Decoded:
        """Predict sets from slots; ``recon`` holds the numbers of every object, (B, K, P)."""
        return self.decoder(slots, target, active)

    def forward(
        self,
        inputs: Tensor,
        data_samples: list[SlotDataSample] | None = None,
        mode: str = 'tensor',
    ) -> Any:
        """MMEngine's entry: ``mode`` is 'loss', 'predict' or 'tensor', which gives the numbers."""
        if mode == 'loss':
            return self.loss(inputs, data_samples or [])
        if mode == 'predict':
            return self.predict(inputs, data_samples)
        if mode == 'tensor':
            slots = self.encode(inputs)
            return self.decode(slots.slots, active=slots.active).recon
        raise ValueError(f"mode must be 'loss', 'predict' or 'tensor', got {mode!r}.")

    def loss(self, inputs: Tensor, data_samples: list[SlotDataSample]) -> dict[str, Tensor]:
        """Return the losses of a batch by name.

        Raises:
            ValueError: If an image has no true objects given, more of them than there are slots,
                or lacks a property.
        """
        if len(data_samples) != len(inputs):
            raise ValueError(f'Got {len(data_samples)} data_samples for {len(inputs)} images.')
        features = self.extract(inputs)
        slots = self.slot_head(features)
        values = self.true_sets(data_samples, slots.slots.shape[1])
        target = Target(values.to(inputs.device, non_blocking=True))
        decoded = self.decode(slots.slots, target, slots.active)
        output = ModelOutput(features, slots, target, decoded)
        return {f'loss_{loss.name}': loss(output) for loss in self.losses}

    def true_sets(
        self, data_samples: list[SlotDataSample], num_slots: int
    ) -> Float[Tensor, 'B K P']:
        """Return the numbers of all true objects, on the host, padded with rows of zeros."""
        sets = torch.zeros(len(data_samples), num_slots, self.decoder.num_numbers)
        for i, sample in enumerate(data_samples):
            if 'gt_objects' not in sample:
                raise ValueError(
                    f"image {sample.get('img_id')!r} has no 'gt_objects': set prediction trains "
                    'with true properties; for ColoredSprites set properties=True'
                )
            numbers = self.decoder.encode(sample.gt_objects)
            if len(numbers) > num_slots:
                raise ValueError(
                    f'image {sample.get("img_id")!r} has {len(numbers)} objects, but there are '
                    f'{num_slots} slots; set num_slots of slot_head.initializer to the most '
                    'objects of an image at least'
                )
            sets[i, : len(numbers)] = numbers
        return sets

    def predict(
        self,
        inputs: Tensor,
        data_samples: list[SlotDataSample] | None = None,
        **options: Unpack[SlotOptions],
    ) -> list[SlotDataSample]:
        """Fill in ``pred_set``, attention and slots; ``options`` are those of the slot head."""
        features = self.extract(inputs)
        slots = self.slot_head(features, **options)
        numbers = self.decode(slots.slots, active=slots.active).recon
        samples = data_samples or [SlotDataSample() for _ in inputs]
        fill_slots(samples, features, slots)
        for sample, image in zip(samples, numbers, strict=True):
            sample.pred_set = self.decoder.read(image)
        return samples
