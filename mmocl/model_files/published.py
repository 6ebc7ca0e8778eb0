"""Files of ``tools/publish_model.py``: weights in safetensors, all else as JSON in its header."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import UnionType
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from mmocl.model_files.config_data import config_from_json, config_to_json
from mmocl.write_atomically import write_atomically

# The one entry of the header's metadata: to several the library gives no order.
_KEY = 'mmocl'
_KIND = 'model'
# Files of a higher number are refused; it rises when older code would misread a new file.
_FORMAT = 1
# What the entries of a header are.
_KINDS: dict[str, type | UnionType] = {
    'config': dict,
    'seed': int | None,
    'steps': int | None,
    'versions': dict,
    'commit': str | None,
    'metrics': dict,
    'weights_sha256': str,
}


@dataclass(frozen=True)
class PublishedModel:
    """What a published file holds.

    Attributes:
        config: Config of the training, plain values; of absolute paths the last part.
        weights: Weights by name.
        seed: Seed of the training.
        steps: Steps of the training.
        versions: Versions of the packages that wrote the file, and of MMEngine that trained.
        commit: Commit of the code that wrote the file.
        metrics: Results by name of their protocol (of the evaluator, without one).
    """

    config: Mapping[str, Any]
    weights: Mapping[str, Tensor]
    seed: int | None = None
    steps: int | None = None
    versions: Mapping[str, str | None] = field(default_factory=dict)
    commit: str | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)


def write_published(path: str | Path, model: PublishedModel) -> bytes:
    """Write a file; the same model gives the same bytes.

    Returns:
        The bytes, see :func:`published_bytes`.

    Raises:
        ValueError: If the config holds more than plain values, or there are no weights.
    """
    data = published_bytes(model)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    write_atomically(Path(path), data)
    return data


def published_bytes(model: PublishedModel) -> bytes:
    """What :func:`write_published` writes.

    Raises:
        ValueError: If the config holds more than plain values, or there are no weights.
    """
    if not model.weights:
        raise ValueError('There are no weights to publish.')
    # Copies, since the library refuses tensors that share memory.
    weights = {key: value.detach().cpu().clone() for key, value in model.weights.items()}
    about = {
        'kind': _KIND,
        'format': _FORMAT,
        'config': config_to_json(model.config),
        'seed': model.seed,
        'steps': model.steps,
        'versions': dict(model.versions),
        'commit': model.commit,
        'metrics': dict(model.metrics),
        'weights_sha256': weights_digest(weights),
    }
    text = json.dumps(about, sort_keys=True, allow_nan=False)
    return save({k: v.contiguous() for k, v in weights.items()}, {_KEY: text})


def read_published(path: str | Path) -> PublishedModel:
    """Read a file; nothing of it is run.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it is damaged, of another kind, or written by a newer version.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f'No published model at {str(path)!r}.')
    try:
        with safe_open(path, 'pt') as file:
            about = _checked((file.metadata() or {}).get(_KEY), path)
            weights = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(
            f'{path} is damaged, or no safetensors file: {error}. Fetch it again.'
        ) from error
    if weights_digest(weights) != about['weights_sha256']:
        raise ValueError(f'{path} is damaged: its weights are not those that were written.')
    known = ('seed', 'steps', 'versions', 'commit', 'metrics')
    facts = {key: about[key] for key in known}
    return PublishedModel(about['config'], weights, **facts)


def _checked(text: str | None, path: str | Path) -> dict[str, Any]:
    """The header's entry, if this version can read the file."""
    try:
        about = json.loads(text or '')
    except (ValueError, RecursionError):
        about = None
    if not isinstance(about, dict) or about.get('kind') != _KIND:
        raise ValueError(
            f'{path} was not written by tools/publish_model.py: its header has no mmocl model, so '
            'nobody knows what the weights are for. The weights of a backbone alone belong to '
            'model.backbone.checkpoint of a config.'
        )
    number = about.get('format')
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise ValueError(f'{path} is damaged: it has format {number!r}, expected 1 or more.')
    if number > _FORMAT:
        raise ValueError(
            f'{path} has format {number}, this mmocl reads up to {_FORMAT}: upgrade mmocl (it was '
            f'written with {about.get("versions")}).'
        )
    if missing := _KINDS.keys() - about.keys():
        raise ValueError(f'{path} is damaged: its header lacks {", ".join(sorted(missing))}.')
    for key, kind in _KINDS.items():
        if not isinstance(about[key], kind):
            raise ValueError(f'{path} is damaged: {key} of its header is {str(about[key])[:80]!r}.')
    try:
        about['config'] = config_from_json(about['config'])
    except (TypeError, RecursionError) as error:
        raise ValueError(f'{path} is damaged: its config is nested wrongly ({error}).') from error
    return about


def weights_digest(weights: Mapping[str, Tensor]) -> str:
    """SHA-256 of names, types, shapes and values, whatever file they are in."""
    digest = hashlib.sha256()
    for key in sorted(weights):
        value = weights[key].detach().cpu().contiguous()
        digest.update(f'{key} {value.dtype} {tuple(value.shape)}\n'.encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
