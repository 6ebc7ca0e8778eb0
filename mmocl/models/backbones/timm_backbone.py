import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from pickle import UnpicklingError
from types import MethodType
from typing import Any

import timm
import torch
from jaxtyping import Float
from mmengine.model import BaseModule
from timm.models import load_state_dict
from torch import Tensor, nn
from torch.nn import functional

from mmocl.model_files.safe_pickle import unreadable
from mmocl.models.checkpoint import require_fit
from mmocl.models.layers import map_features
from mmocl.registry import MODELS
from mmocl.structures import Features


@MODELS.register_module()
class TimmBackbone(BaseModule):
    """Patch tokens or maps of any timm model, frozen by default.

    DINOSAUR, `arXiv:2209.14860 <https://arxiv.org/abs/2209.14860>`_, uses the last block of a DINO
    ViT without the final norm (``norm=False``), class token dropped.

    Args:
        model_name: Name of the timm model, e.g. ``'vit_base_patch16_224.dino'`` or ``'resnet50'``.
        checkpoint: File with the model's weights (``.pth`` or ``.safetensors``); every key has to
            fit.
        pretrained: Let timm download the weights; not together with ``checkpoint``.
        block: Which block of a ViT, or which stage of a CNN, gives the tokens; negative counts from
            the last. Of several the last one does, and ``Features.layers`` holds the tokens of all.
        norm: Apply the model's final norm to the tokens (ViTs only).
        frozen: No gradient, and always in evaluation mode.
        position_resize: How a ViT's position embedding is brought to another image size:
            ``'timm'`` (bicubic with antialias) or ``'plain'`` (bicubic without).
        output: ``'tokens'`` gives :class:`Features`; ``'maps'`` a tuple with a map (B, C, h, w) a
            block, as segmentation heads expect.
        init_cfg: MMEngine's initialisation config.

    Raises:
        FileNotFoundError: If the checkpoint is missing.
        ValueError: If the checkpoint asks for more than weights, or does not fit the model; missing
            and unexpected keys and shapes that differ are named.
    """

    def __init__(
        self,
        model_name: str,
        checkpoint: str | None = None,
        pretrained: bool = False,
        block: int | Sequence[int] = -1,
        norm: bool = False,
        frozen: bool = True,
        position_resize: str = 'timm',
        output: str = 'tokens',
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if checkpoint and pretrained:
            raise ValueError('Give either checkpoint= or pretrained=True, not both.')
        if position_resize not in ('timm', 'plain'):
            raise ValueError(f"position_resize must be 'timm' or 'plain', got {position_resize!r}.")
        if output not in ('tokens', 'maps'):
            raise ValueError(f"output must be 'tokens' or 'maps', got {output!r}.")
        self.model_name = model_name
        self.position_resize = position_resize
        self.frozen = frozen
        self.norm = norm
        self.output = output
        self.model: Any = _create(model_name, pretrained)
        depth = len(self.model.feature_info)
        given = [block] if isinstance(block, int) else list(block)
        if not given or not all(-depth <= b < depth for b in given):
            raise ValueError(f'{model_name} has {depth} blocks (or stages), got block={block}.')
        self.blocks = [b % depth for b in given]
        if sorted(set(self.blocks)) != self.blocks:
            raise ValueError(f'Blocks must rise, got block={block} of {depth}.')
        self.out_channels = self.model.feature_info[self.blocks[-1]]['num_chs']
        if checkpoint:
            _load(self.model, model_name, checkpoint)
        # What lies behind the block would cost memory, and in training get no gradient.
        self.model.prune_intermediate_layers(self.blocks, prune_norm=not norm, prune_head=True)
        if position_resize == 'plain':
            # Subclasses add tokens of their own; some models have no such embedding.
            if type(self.model).__name__ != 'VisionTransformer' or self.model.pos_embed is None:
                raise ValueError(
                    f"position_resize='plain' is for timm's VisionTransformer with "
                    f'absolute positions, but {model_name} is a {type(self.model).__name__}.'
                )
            self.model._pos_embed = MethodType(_add_position_plainly, self.model)
        if frozen:
            self.model.requires_grad_(False)
            self.model.eval()

    def init_weights(self) -> None:
        """Keep the weights: the constructor has drawn or loaded them.

        MMEngine's Runner calls this before training. Without it, it would go on to timm's method
        of the same name, which draws new ones.
        """

    def train(self, mode: bool = True) -> 'TimmBackbone':
        """Switch the mode; a frozen model stays in evaluation mode."""
        super().train(mode)
        if self.frozen:
            self.model.eval()
        return self

    @property
    def size_multiple(self) -> int | None:
        """What sides of images must be multiples of; None for a model that takes one size only.

        Of a ViT it is the patch, of a CNN the stride of its tokens.
        """
        if any(getattr(part, 'strict_img_size', False) for part in self.model.modules()):
            return None
        patch = getattr(getattr(self.model, 'patch_embed', None), 'patch_size', (1, 1))
        return math.lcm(*patch, self.model.feature_info[self.blocks[-1]]['reduction'])

    def token_key(self) -> dict[str, Any]:
        """Settings that the tokens depend on, beside the weights; plain values.

        Raises:
            ValueError: If the backbone is trained, or gives no tokens of one block: such tokens
                cannot be cached.
        """
        if not self.frozen or self.output != 'tokens':
            raise ValueError(
                'Only tokens of a frozen TimmBackbone stay valid in a cache; expected '
                "model.backbone with frozen=True and output='tokens', got "
                f'frozen={self.frozen} and output={self.output!r}.'
            )
        if len(self.blocks) > 1:
            raise ValueError(
                'A cache holds the tokens of one block, but model.backbone.block is several: '
                f'{self.blocks}.'
            )
        return {
            'type': 'TimmBackbone',
            'model_name': self.model_name,
            'block': self.blocks[0],
            'norm': self.norm,
            'position_resize': self.position_resize,
        }

    def forward(self, images: Float[Tensor, 'B 3 H W']) -> Features | tuple[Tensor, ...]:
        """Encode images.

        Raises:
            ValueError: If the patch size does not divide the image size.
        """
        patch = getattr(getattr(self.model, 'patch_embed', None), 'patch_size', (1, 1))
        size = images.shape[-2:]
        if size[0] % patch[0] or size[1] % patch[1]:
            raise ValueError(
                f'Images are {size[0]}x{size[1]}, but their sides must be multiples of the patch '
                f'{patch[0]}x{patch[1]}.'
            )
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            maps = self.model.forward_intermediates(
                images,
                indices=self.blocks,
                norm=self.norm,
                stop_early=True,
                intermediates_only=True,
            )
        if self.output == 'maps':
            return tuple(maps)
        levels = [map_features(level) for level in maps]
        layers = tuple(level.tokens for level in levels) if len(levels) > 1 else None
        return replace(levels[-1], layers=layers)


def _create(model_name: str, pretrained: bool) -> Any:
    """Make the timm model without its classifier, a ViT for images of any size."""
    try:
        return timm.create_model(
            model_name, pretrained=pretrained, num_classes=0, dynamic_img_size=True
        )
    except TypeError:  # CNNs take any size and do not know the argument
        return timm.create_model(model_name, pretrained=pretrained, num_classes=0)


def _load(model: nn.Module, model_name: str, checkpoint: str) -> None:
    """Load a checkpoint in which every key and shape has to fit."""
    if not Path(checkpoint).is_file():
        raise FileNotFoundError(f'TimmBackbone: no checkpoint at {checkpoint!r}.')
    try:
        weights = load_state_dict(checkpoint, weights_only=True)
    except (UnpicklingError, RuntimeError, EOFError) as error:
        raise unreadable(f'TimmBackbone: checkpoint {checkpoint!r}', error) from error
    require_fit(model, weights, f'Checkpoint {checkpoint!r} does not fit {model_name}')
    model.load_state_dict({key: value.float() for key, value in weights.items()})


def _add_position_plainly(vit: Any, patches: Tensor) -> Tensor:
    """Do timm's ``_pos_embed`` with a bicubic resize without antialias, as DINOv2's code does."""
    tokens = patches.flatten(1, 2)
    prefix = [
        token.expand(tokens.shape[0], -1, -1)
        for token in (vit.cls_token, vit.reg_token)
        if token is not None
    ]
    num_embedded = 0 if vit.no_embed_class else vit.num_prefix_tokens
    position = vit.pos_embed[:, num_embedded:].unflatten(1, vit.patch_embed.grid_size)
    position = functional.interpolate(
        position.permute(0, 3, 1, 2), size=patches.shape[1:3], mode='bicubic', align_corners=False
    )
    tokens = tokens + position.flatten(2).transpose(1, 2)
    if prefix:
        head = torch.cat(prefix, dim=1)
        if num_embedded:
            head = head + vit.pos_embed[:, :num_embedded]
        tokens = torch.cat([head, tokens], dim=1)
    return vit.pos_drop(tokens)
