from importlib import import_module
from types import ModuleType


def require_module(
    name: str, extra: str = 'evaluation', complaint: str | None = None
) -> ModuleType:
    """Import a module of an extra, such as ``mmocl[evaluation]``.

    Args:
        name: Full name of the module, e.g. ``'sklearn.cluster'``.
        extra: Name of the extra that installs it.
        complaint: What "could not be imported" in the message; the package if not given.

    Raises:
        ImportError: If the package is not installed; the message says how to install it.
    """
    try:
        return import_module(name)
    except ImportError as error:
        complaint = complaint or name.partition('.')[0]
        raise ImportError(
            f"{complaint} could not be imported ({error}): pip install 'mmocl[{extra}]'"
        ) from error
