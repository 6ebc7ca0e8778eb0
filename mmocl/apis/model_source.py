from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmocl.apis.model_index import find_model
from mmocl.model_files import LoadedCheckpoint, inference_config, load_checkpoint, trained_config

# Files of these kinds are configs; all others hold weights.
_CONFIGS = ('.py', '.json', '.yml', '.yaml')


def resolve_model(
    model: str | Path | Config | Mapping[str, Any] | None,
    weights: str | Path | LoadedCheckpoint | None = None,
) -> tuple[Config, LoadedCheckpoint | None]:
    """Find config and weights of a model.

    Args:
        model: Config file; loaded config; name of a model index, see
            :func:`~mmocl.apis.model_index.find_model`; or a file of weights whose own config is
            taken, which is read as data and not run: a published model or a checkpoint.
        weights: Checkpoint or published model, or the content of one; not needed where the name or
            file brings weights.

    Returns:
        A config of one's own, and the weights or None.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If there is no model of this name, weights are given twice or are an address,
            or a file of weights without a config is given alone.
    """
    if model is None:
        if weights is None:
            raise ValueError('Give a config, the name of a model, or a file of weights.')
        return _with_own_config(weights)
    if isinstance(model, Mapping | Config):
        config = deepcopy(model) if isinstance(model, Config) else Config(dict(model))
        return config, _loaded(weights)
    path = Path(model).expanduser()
    if not path.is_file() and path.suffix not in (*_CONFIGS, '.pth', '.pt', '.safetensors'):
        config_file, found = find_model(str(model))
        weights = found if weights is None else weights
        if config_file is None:
            # An entry without a config has weights, with their config inside.
            return _with_own_config(weights)
        return Config.fromfile(config_file), _loaded(weights)
    if not path.is_file():
        raise FileNotFoundError(f'No config or model at {str(model)!r}.')
    if path.suffix in _CONFIGS:
        return Config.fromfile(path), _loaded(weights)
    if weights is not None:
        raise ValueError(
            f'Expected a config and a file of weights, got two of weights: {str(model)!r} and '
            f'{str(weights)!r}. {path.name} alone brings its own config.'
        )
    return _with_own_config(str(path))


def _with_own_config(
    weights: str | Path | LoadedCheckpoint | None,
) -> tuple[Config, LoadedCheckpoint]:
    checkpoint = _loaded(weights)
    assert checkpoint is not None
    path = checkpoint.path
    config = trained_config(checkpoint, path)
    if config is None:
        raise ValueError(f'{path} has no config inside; give the config file too.')
    return inference_config(config, path), checkpoint


def _loaded(weights: str | Path | LoadedCheckpoint | None) -> LoadedCheckpoint | None:
    if weights is None or isinstance(weights, LoadedCheckpoint):
        return weights
    if '://' in str(weights):
        raise ValueError(
            f'{weights} is an address, and nothing is downloaded: fetch it and give its path.'
        )
    return load_checkpoint(str(weights))
