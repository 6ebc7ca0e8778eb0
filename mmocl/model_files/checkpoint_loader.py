"""The one way in which weights are read, by MMEngine's ``Runner`` too."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch
from mmengine.dist import barrier, get_local_rank
from mmengine.fileio import get_file_backend
from mmengine.runner import CheckpointLoader

from mmocl.model_files.config_data import config_from_text
from mmocl.model_files.published import read_published
from mmocl.model_files.safe_pickle import load_pickle


class LoadedCheckpoint(dict):
    """Content of a checkpoint that knows its file, so that messages can name it."""

    path: str


def load_checkpoint(filename: str, map_location: Any = 'cpu') -> LoadedCheckpoint:
    """Load a checkpoint of a training, or a published model, and run no code of it.

    Importing this module makes it MMEngine's loader of local files. MMEngine's own loader runs a
    pickle that it cannot read safely, with a warning.

    Args:
        filename: A local file; ``.safetensors`` is a published model.
        map_location: As of :func:`torch.load`.

    Returns:
        Its content; ``state_dict`` of a published model, with ``seed``, ``iter`` and ``config`` in
        ``meta``.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it is damaged, or asks for more than weights.
    """
    path = Path(filename).expanduser()
    if path.is_dir():
        raise FileNotFoundError(f'No checkpoint at {filename!r}: it is a folder.')
    if not path.is_file():
        raise FileNotFoundError(f'No checkpoint at {filename!r}.')
    if path.suffix == '.safetensors':
        return _published(path, filename, map_location)
    return _training(load_pickle(str(path), filename, map_location), filename)


# The prefixes of addresses. MMEngine prints what follows 'load_from_' in the name of a loader.
@CheckpointLoader.register_scheme(prefixes='', force=True)
def load_from_local(filename: str, map_location: Any = 'cpu') -> LoadedCheckpoint:
    """Load a file; see :func:`load_checkpoint`."""
    return load_checkpoint(filename, map_location)


@CheckpointLoader.register_scheme(
    prefixes=[r'(\S+\:)?s3://', r'(\S+\:)?petrel://', 'pavi://'], force=True
)
def load_from_store(filename: str, map_location: Any = 'cpu') -> LoadedCheckpoint:
    """Load a checkpoint from a store of MMEngine's file backends; see :func:`load_checkpoint`."""
    data = get_file_backend(filename, backend_args={'backend': 'petrel'}).get(filename)
    return _training(load_pickle(io.BytesIO(data), filename, map_location), filename)


@CheckpointLoader.register_scheme(prefixes=['http://', 'https://'], force=True)
def load_from_web(filename: str, map_location: Any = 'cpu') -> LoadedCheckpoint:
    """Download a checkpoint once, to the folder of ``torch.hub``; see :func:`load_checkpoint`."""
    path = Path(torch.hub.get_dir(), 'checkpoints', Path(urlparse(filename).path).name)
    if get_local_rank() == 0 and not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(filename, str(path), progress=False)
    barrier()
    return load_checkpoint(str(path), map_location)


def trained_config(checkpoint: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    """The config in a checkpoint, as plain values; None if there is none.

    Args:
        checkpoint: Content of the file.
        name: The file, for messages.

    Raises:
        ValueError: If it is text that holds more than plain values.
    """
    meta = checkpoint.get('meta') or {}
    if isinstance(meta.get('config'), dict):
        return meta['config']
    text = meta.get('cfg')
    if not isinstance(text, str) or not text:
        return None
    try:
        return config_from_text(text)
    except ValueError as error:
        raise ValueError(f'{name}: {error}') from error


def _training(content: Any, name: str) -> LoadedCheckpoint:
    if not isinstance(content, dict):
        raise ValueError(f'{name} holds a {type(content).__name__}, expected weights by name.')
    meta = content.get('meta')
    if isinstance(meta, dict):
        # Text that ``Runner.resume`` would run as Python. MMEngine itself writes ``cfg``.
        meta.pop('config', None)
    return _named(content, name)


def _published(path: Path, name: str, map_location: Any) -> LoadedCheckpoint:
    model = read_published(path)
    weights = dict(model.weights)
    if isinstance(map_location, str | torch.device):
        weights = {key: value.to(map_location) for key, value in weights.items()}
    meta = {'seed': model.seed, 'iter': model.steps, 'config': dict(model.config)}
    return _named({'meta': meta, 'state_dict': weights}, name)


def _named(content: dict, name: str) -> LoadedCheckpoint:
    loaded = LoadedCheckpoint(content)
    loaded.path = name
    # Of a bare state dict, which modules read their version from.
    if hasattr(content, '_metadata'):
        loaded._metadata = content._metadata  # type: ignore[attr-defined]
    return loaded
