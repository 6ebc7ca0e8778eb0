"""Which parts of a model fit each other: conflicts of config keys, found when a model is built.

What depends on the size of images, such as the grid of a decoder, is found with the first batch.
"""

from typing import Any

from torch import nn

from mmocl.models.backbones import TokenBackbone
from mmocl.models.targets import TokenTarget
from mmocl.registry import MODELS


def require_tokenizer(tokenizer: Any, target: Any) -> None:
    """Refuse a target of discrete tokens without a tokenizer, which it cannot be built without.

    Raises:
        ValueError: If there is none.
    """
    kind = target['type'] if isinstance(target, dict) else type(target)
    kind = MODELS.find(kind) if isinstance(kind, str) else kind
    if tokenizer is None and isinstance(kind, type) and issubclass(kind, TokenTarget):
        raise ValueError(
            'model.target is a TokenTarget, but model.tokenizer is not set; add e.g. '
            "tokenizer=dict(type='DiscreteVAE')."
        )


def require_parts_fit(model: Any) -> None:
    """Refuse parts that cannot work together; parts that do not say what they need are believed.

    Args:
        model: A ``SlotAutoencoder`` with all of its parts.

    Raises:
        ValueError: If two parts do not fit; both config keys are named.
    """
    backbone, decoder, target = model.backbone, model.decoder, model.target
    if model.tokenizer is not None and not target.needs_codes:
        raise ValueError(
            f'model.tokenizer is set, but model.target, a {_name(target)}, does not use its tokens '
            'nor train it; take TokenTarget, or leave the tokenizer out.'
        )
    if isinstance(backbone, TokenBackbone):
        _require_token_backbone_fits(model)
    require_shape(decoder, target.shape, f'model.target, a {_name(target)}, gives')
    if target.needs_codes and target.vocab_size != model.tokenizer.vocab_size:
        raise ValueError(
            f'model.target.vocab_size is {target.vocab_size}, but model.tokenizer.vocab_size is '
            f'{model.tokenizer.vocab_size}; leave the former out.'
        )
    vocab_size = getattr(getattr(decoder, 'embedding', None), 'vocab_size', None)
    if target.needs_codes and vocab_size not in (None, target.vocab_size):
        raise ValueError(
            f'model.decoder.vocab_size is {vocab_size}, but model.tokenizer.vocab_size is '
            f'{target.vocab_size}; leave the former out.'
        )
    require_losses_fit(model.losses, decoder, target.shape)
    if target.needs_features and any(p.requires_grad for p in backbone.parameters()):
        raise ValueError(
            f'model.target, a {_name(target)}, reconstructs the features of model.backbone, a '
            f'{_name(backbone)}, which is trained: features and reconstruction would collapse to '
            'constants. Freeze it (frozen=True of TimmBackbone and MapBackbone), or take a '
            'PixelTarget.'
        )


def require_set_parts_fit(model: Any) -> None:
    """Refuse parts of a ``SlotSetPredictor`` that predict or compare something else than sets.

    Raises:
        ValueError: If there is one; its config key is named.
    """
    require_shape(model.decoder, 'set', 'a SlotSetPredictor predicts')
    require_losses_fit(model.losses, model.decoder, 'set')


def require_losses_fit(losses: Any, decoder: nn.Module, shape: str, owner: str = 'model') -> None:
    """Refuse losses that compare something else than ``shape``, or need masks that are not there.

    Args:
        losses: The losses of a model.
        decoder: The decoder whose output they read.
        shape: What is reconstructed.
        owner: Config key of what holds these parts.

    Raises:
        ValueError: If there is one; both config keys are named.
    """
    for i, loss in enumerate(losses):
        shapes = getattr(loss, 'target_shapes', (shape,))
        if shape not in shapes:
            raise ValueError(
                f'{owner}.losses[{i}], a {_name(loss)}, compares {" or ".join(map(repr, shapes))}, '
                f'but {owner}.target and {owner}.decoder, a {_name(decoder)}, are about {shape!r}.'
            )
        if getattr(loss, 'needs_masks', False) and not getattr(decoder, 'has_masks', True):
            raise ValueError(
                f'{owner}.losses[{i}], a {_name(loss)}, needs masks, but {owner}.decoder, a '
                f'{_name(decoder)}, gives none.'
            )


def require_shape(decoder: nn.Module, shape: str, wanted_by: str, owner: str = 'model') -> None:
    """Refuse a decoder that makes something else than ``shape``; both sides are named.

    Raises:
        ValueError: If it does.
    """
    made = getattr(decoder, 'shape', shape)
    if made != shape:
        raise ValueError(
            f'{owner}.decoder, a {_name(decoder)}, makes {made!r}, but {wanted_by} {shape!r}. '
            "SpatialBroadcastDecoder and ConvDecoder make an 'image', MLPDecoder and "
            "TransformerDecoder 'tokens', TransformerDecoder with a tokenizer 'ids', "
            "PropertyDecoder a 'set'; PixelTarget(patch_size=...) turns images into tokens."
        )


def _require_token_backbone_fits(model: Any) -> None:
    if model.tokenizer is None:
        raise ValueError('model.backbone is a TokenBackbone, but model.tokenizer is not set.')
    if model.target.needs_features:
        raise ValueError(
            f'model.target is a {_name(model.target)}, which needs features of the image, but '
            'model.backbone is a TokenBackbone, which gives embedded tokens.'
        )
    width = getattr(getattr(model.decoder, 'embedding', None), 'channels', None)
    if width is None:
        raise ValueError(
            'model.backbone is a TokenBackbone, which takes the embedding of the decoder, but '
            f'model.decoder, a {_name(model.decoder)}, embeds no tokens.'
        )
    if width != model.backbone.out_channels:
        raise ValueError(
            f'model.backbone.channels is {model.backbone.out_channels}, but the decoder embeds '
            f'tokens in model.decoder.channels={width}.'
        )


def _name(part: nn.Module) -> str:
    return type(part).__name__
