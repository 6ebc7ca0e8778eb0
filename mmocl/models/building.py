"""How the models build their parts from configs."""

from collections.abc import Sequence
from inspect import signature
from typing import Any

from torch import nn

from mmocl.registry import MODELS


def build_part(part: dict | nn.Module, **inferred: int) -> Any:
    """Build a part from its config; inferred widths yield to given ones."""
    return part if isinstance(part, nn.Module) else MODELS.build({**inferred, **part})


def build_losses(losses: Sequence[dict | nn.Module], **inferred: int) -> nn.ModuleList:
    """Build the losses of a model; each gets the inferred widths that it has arguments for.

    Raises:
        ValueError: If two losses have the same name.
    """
    built = [_build_loss(loss, **inferred) for loss in losses]
    names = [loss.name for loss in built]
    if len(set(names)) != len(names):
        raise ValueError(f'Losses need different names, got {names}.')
    return nn.ModuleList(built)


def _build_loss(loss: dict | nn.Module, **inferred: int) -> Any:
    if isinstance(loss, nn.Module):
        return loss
    kind = loss.get('type')
    kind = MODELS.get(kind) if isinstance(kind, str) else kind
    # What has no type gets its error where it is built.
    asked = signature(kind).parameters if kind else {}
    return build_part(loss, **{name: width for name, width in inferred.items() if name in asked})
