import logging
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmocl.models.backbones.token_backbone import TokenBackbone
from mmocl.models.checkpoint import load_trained, without_pretrained
from mmocl.models.layers import TOKEN_MAPS, token_map
from mmocl.registry import MODELS
from mmocl.structures import Features


@MODELS.register_module()
class SlotBackbone(BaseModule):
    """A trained model of slots as a backbone of mmsegmentation.

    It gives one map, which lies on the grid of the model's tokens. Of the model it keeps what leads
    there: decoder, target and losses are dropped, so that DDP waits for no gradient of theirs. The
    images have to be normalised as the model's were: give mean and std of its
    ``data_preprocessor`` to that of the segmentor, and ``bgr_to_rgb=True``.

    Backbones are not told of padding, which so takes part: take crops without. Slots that start at
    random (``GaussianSlots``) give other features in every forward, in evaluation mode too, and the
    channels of ``'attn'`` another order: take a model with ``LearnedSlots``, or another initializer
    that draws nothing.

    Args:
        model: Path of a config file, the config of its model, or the model itself.
        checkpoint: The model's checkpoint; every key has to fit. It brings all weights: none of its
            backbone's are looked for. Without one, and without a built model, weights are drawn.
        frozen: No gradient, and always in evaluation mode. Otherwise all is trained but what was
            frozen in the model, and its tokenizer, which gives ids only.
        outputs: What the map is made of, channel by channel: ``'tokens'`` of the backbone;
            ``'slots'``: at every token the slots, mixed by its attention; ``'attn'``: the
            attention, a channel a slot.
        init_cfg: MMEngine's initialisation config.

    Raises:
        FileNotFoundError: If the config or the checkpoint is missing.
        ValueError: If the checkpoint does not fit, the model has no backbone and slot head, or an
            output is not known.
    """

    def __init__(
        self,
        model: str | dict | nn.Module,
        checkpoint: str | None = None,
        frozen: bool = True,
        outputs: Sequence[str] = ('slots',),
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.outputs = _checked(outputs, frozen)
        self.frozen = frozen
        self.has_weights = checkpoint is not None or isinstance(model, nn.Module)
        trained = _build(model, checkpoint)
        self.backbone: Any = trained.backbone
        widths = {'tokens': self.backbone.out_channels}
        self.slot_head: Any = None
        if self.outputs != ('tokens',):
            self.slot_head = trained.slot_head
            widths['slots'] = self.slot_head.slot_dim
            widths['attn'] = self.slot_head.initializer.num_slots
        self.out_channels = sum(widths[output] for output in self.outputs)
        self.tokenizer: Any = None
        self.embedding: Any = None
        if isinstance(self.backbone, TokenBackbone):
            # No gradient goes through ids.
            self.tokenizer = trained.tokenizer.requires_grad_(False)
            self.embedding = trained.decoder.embedding
        if frozen:
            self.requires_grad_(False)
        self.train()

    def init_weights(self) -> None:
        """Draw weights, unless a checkpoint or a built model brought them."""
        if self.has_weights:
            return
        super().init_weights()
        if self.frozen:
            print_log(
                'SlotBackbone is frozen with slots drawn at random; give its checkpoint.',
                logger='current',
                level=logging.WARNING,
            )

    def train(self, mode: bool = True) -> 'SlotBackbone':
        """Switch the mode; frozen parts stay in evaluation mode."""
        super().train(mode)
        for part in self.children() if self.frozen else (self.tokenizer,):
            if part is not None:
                part.eval()
        return self

    def forward(self, images: Float[Tensor, 'B 3 H W']) -> tuple[Float[Tensor, 'B C h w']]:
        """Return a tuple with the one map."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            features = self._extract(images)
            found = None if self.slot_head is None else self.slot_head(features)
            maps = [token_map(features, found, output) for output in self.outputs]
        return (torch.cat(maps, dim=1),)

    def _extract(self, images: Tensor) -> Features:
        if self.tokenizer is None:
            return self.backbone(images)
        return self.backbone(self.tokenizer(images), self.embedding)


def _checked(outputs: Sequence[str], frozen: bool) -> tuple[str, ...]:
    """Refuse outputs that do not exist, or that leave parameters without a gradient."""
    known = not isinstance(outputs, str) and set(outputs) <= set(TOKEN_MAPS)
    if not known or not outputs or len(set(outputs)) != len(outputs):
        raise ValueError(
            f'outputs must be some of {", ".join(map(repr, TOKEN_MAPS))}, each once, got '
            f'{outputs!r}.'
        )
    if not frozen and 'attn' in outputs and 'slots' not in outputs:
        raise ValueError(
            f"outputs={outputs!r} with frozen=False: the attention does not see the slots' last "
            "update, which would get no gradient; add 'slots' or set frozen=True."
        )
    return tuple(outputs)


def _build(model: str | dict | nn.Module, checkpoint: str | None) -> Any:
    """Build the whole model, as its checkpoint knows it."""
    what = 'the model of the SlotBackbone'
    if isinstance(model, str):
        what += f', {model!r}'
        config = Config.fromfile(model)
        if 'model' not in config:
            raise ValueError(f'The config {model!r} has no model.')
        model = config.model
    trained: Any = model
    if isinstance(model, dict):
        if checkpoint is not None:
            model = {**model, 'backbone': without_pretrained(model.get('backbone'))}
        trained = MODELS.build(model)
    if not hasattr(trained, 'backbone') or not hasattr(trained, 'slot_head'):
        raise ValueError(
            'SlotBackbone needs a model with a backbone and a slot_head, such as SlotAutoencoder, '
            f'got {type(trained).__name__}.'
        )
    if checkpoint is not None:
        load_trained(trained, checkpoint, what)
    return trained
