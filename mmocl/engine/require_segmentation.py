from typing import Any

from mmengine.config import Config

from mmocl.require_module import require_module


def require_segmentation(cfg: Config) -> None:
    """Say how to install mmsegmentation, if a config wants it and it is not there.

    Args:
        cfg: Config of a run; it wants mmsegmentation if that is its ``default_scope``, or any
            ``type`` or ``_scope_`` in it names it.

    Raises:
        ImportError: If mmsegmentation is missing.
    """
    content = cfg.to_dict()
    if content.get('default_scope') == 'mmseg' or _names_mmseg(content):
        require_module('mmseg', extra='segmentation', wanted_by='this config')


def _names_mmseg(value: Any) -> bool:
    """Whether a module of mmsegmentation is named anywhere below."""
    if isinstance(value, dict):
        names = (value.get('type'), value.get('_scope_'))
        if any(isinstance(n, str) and n.split('.')[0] == 'mmseg' for n in names):
            return True
        value = list(value.values())
    return isinstance(value, list | tuple) and any(_names_mmseg(inner) for inner in value)
