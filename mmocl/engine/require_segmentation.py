from importlib.util import find_spec
from typing import Any

from mmengine.config import Config


def require_segmentation(cfg: Config) -> None:
    """Say how to install mmsegmentation, if a config wants it and it is not there.

    Args:
        cfg: Config of a run; it wants mmsegmentation if that is its ``default_scope``, or any
            ``type`` or ``_scope_`` in it names it.

    Raises:
        ImportError: If mmsegmentation is missing.
    """
    content = cfg.to_dict()
    wanted = content.get('default_scope') == 'mmseg' or _names_mmseg(content)
    if wanted and find_spec('mmseg') is None:
        raise ImportError(
            'this config needs mmsegmentation, which is not installed: pip install '
            "'mmocl[segmentation]'"
        )


def _names_mmseg(value: Any) -> bool:
    """Whether a module of mmsegmentation is named anywhere below."""
    if isinstance(value, dict):
        names = (value.get('type'), value.get('_scope_'))
        if any(isinstance(n, str) and n.split('.')[0] == 'mmseg' for n in names):
            return True
        value = list(value.values())
    return isinstance(value, list | tuple) and any(_names_mmseg(inner) for inner in value)
