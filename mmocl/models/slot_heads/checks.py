"""What slot heads refuse."""

from inspect import Parameter, signature

import torch
from torch import Tensor

from mmocl.models.layers import require
from mmocl.registry import MODELS


def require_num_slots(initializer: dict) -> None:
    """Refuse a config without the number of slots, with its key instead of Python's words."""
    kind = initializer.get('type')
    kind = MODELS.find(kind) if isinstance(kind, str) else kind
    # What has no type, or an unknown one, gets its error where it is built.
    asked = signature(kind).parameters.get('num_slots') if kind else None
    missing = asked is not None and asked.default is Parameter.empty
    if missing and initializer.get('num_slots') is None:
        raise ValueError(
            f'slot_head.initializer.num_slots is missing; {initializer["type"]} needs the number '
            f'of slots, got {initializer}.'
        )


def non_negative(num_iters: int) -> int:
    """Return a number of updates that can be done."""
    if num_iters < 0 or num_iters != int(num_iters):
        raise ValueError(f'num_iters must be a whole number of at least 0, got {num_iters}.')
    return int(num_iters)


def check_mask(name: str, mask: Tensor, shape: tuple[int, ...]) -> None:
    """Refuse a mask of another type or shape, or one that leaves an image with nothing."""
    if mask.dtype != torch.bool or mask.shape != shape:
        raise ValueError(
            f'{name} must be a bool tensor of shape {tuple(shape)}, got {mask.dtype} of '
            f'{tuple(mask.shape)}.'
        )
    require(mask.any(dim=1).all(), f'{name} leaves an image with nothing.')
