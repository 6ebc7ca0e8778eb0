"""Which parts of a model fit each other: conflicts of config keys, found when a model is built."""

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
    kind = MODELS.get(kind) if isinstance(kind, str) else kind
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
    if isinstance(backbone, TokenBackbone):
        _require_token_backbone_fits(model)
    if target.needs_features and isinstance(backbone, TokenBackbone):
        raise ValueError(
            f'model.target is a {_name(target)}, which needs features of the image, but '
            'model.backbone is a TokenBackbone, which gives embedded tokens.'
        )
    shape = getattr(decoder, 'shape', target.shape)
    if shape != target.shape:
        raise ValueError(
            f'model.decoder, a {_name(decoder)}, reconstructs {shape!r}, but model.target, a '
            f'{_name(target)}, gives {target.shape!r}. Use SpatialBroadcastDecoder or ConvDecoder '
            "for 'image', MLPDecoder or TransformerDecoder for 'tokens', TransformerDecoder for "
            "'ids'; PixelTarget(patch_size=...) turns images into tokens."
        )
    for i, loss in enumerate(model.losses):
        shapes = getattr(loss, 'target_shapes', (target.shape,))
        if target.shape not in shapes:
            raise ValueError(
                f'model.losses[{i}], a {_name(loss)}, compares {" or ".join(map(repr, shapes))}, '
                f'but model.target, a {_name(target)}, gives {target.shape!r}.'
            )
        if getattr(loss, 'needs_masks', False) and not getattr(decoder, 'has_masks', True):
            raise ValueError(
                f'model.losses[{i}], a {_name(loss)}, needs masks, but model.decoder, a '
                f'{_name(decoder)}, gives none.'
            )


def _require_token_backbone_fits(model: Any) -> None:
    if model.tokenizer is None:
        raise ValueError('model.backbone is a TokenBackbone, but model.tokenizer is not set.')
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
