from importlib import import_module
from types import ModuleType


def require_module(name: str, extra: str, wanted_by: str | None = None) -> ModuleType:
    """Import a module of an extra, such as ``mmocl[evaluation]``.

    Args:
        name: Full name of the module, e.g. ``'sklearn.cluster'``.
        extra: Name of the extra that installs it.
        wanted_by: What needs it, for the message.

    Raises:
        ImportError: If the package is not installed; the message says how to install it.
    """
    try:
        return import_module(name)
    except ImportError as error:
        package = name.partition('.')[0]
        subject = package if wanted_by is None else f'{wanted_by} needs {package}, which'
        raise ImportError(
            f"{subject} could not be imported ({error}): pip install 'mmocl[{extra}]'"
        ) from error
