"""What of a model its backbone's tokens depend on."""

import hashlib
from typing import Any

import torch
from torch import nn


def model_key(backbone: Any, preprocessor: nn.Module) -> dict[str, Any]:
    """What a feature cache has to share with a model.

    Args:
        backbone: A frozen backbone with ``token_key``, such as ``TimmBackbone``.
        preprocessor: Data preprocessor with mean and standard deviation.

    Returns:
        The backbone's settings, ``weights``, a hash of them, ``mean`` and ``std``; plain values.

    Raises:
        ValueError: If the backbone's tokens cannot be cached.
    """
    if not hasattr(backbone, 'token_key'):
        raise ValueError(
            'A feature cache holds the tokens of a frozen TimmBackbone, but model.backbone is a '
            f'{type(backbone).__name__}.'
        )
    return {
        'backbone': backbone.token_key(),
        'weights': weights_digest(backbone),
        'mean': _numbers(preprocessor, 'mean'),
        'std': _numbers(preprocessor, 'std'),
    }


def weights_digest(module: nn.Module) -> str:
    """SHA-256 of names, types, shapes and values of all parameters and buffers."""
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        # A compiled module is the same one.
        name = name.replace('_orig_mod.', '')
        value = value.detach().cpu().contiguous()
        digest.update(f'{name} {value.dtype} {tuple(value.shape)};'.encode())
        digest.update(value.view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _numbers(preprocessor: nn.Module, name: str) -> list[float]:
    """Values of a buffer, without the noise of float32; an empty list if there is none."""
    values = getattr(preprocessor, name, None)
    return [] if values is None else [float(f'{v:.6g}') for v in values.flatten().tolist()]
