"""How the models build their parts from configs."""

from collections.abc import Sequence
from inspect import signature
from typing import Any

from torch import nn

from mmocl.models.backbones import MapBackbone
from mmocl.registry import MODELS


def build_part(part: dict | nn.Module, **inferred: int) -> Any:
    """Build a part from its config.

    It gets the inferred widths that it has arguments for; they yield to given ones.
    """
    if isinstance(part, nn.Module):
        return part
    kind = part.get('type')
    kind = MODELS.find(kind) if isinstance(kind, str) else kind
    # What has no type gets its error where it is built.
    asked = signature(kind).parameters if kind else {}
    return MODELS.build({**{k: v for k, v in inferred.items() if k in asked}, **part})


def build_backbone(backbone: dict | nn.Module) -> Any:
    """Build a backbone; one that gives maps, and so has no ``out_channels``, is wrapped."""
    built = build_part(backbone)
    if hasattr(built, 'out_channels'):
        return built
    wrapped = MapBackbone(built)
    wrapped.config = backbone if isinstance(backbone, dict) else None
    return wrapped


def build_losses(losses: Sequence[dict | nn.Module], **inferred: int) -> nn.ModuleList:
    """Build the losses of a model.

    Raises:
        ValueError: If two losses have the same name.
    """
    built = [build_part(loss, **inferred) for loss in losses]
    names = [loss.name for loss in built]
    if len(set(names)) != len(names):
        raise ValueError(f'Losses need different names, got {names}.')
    return nn.ModuleList(built)
