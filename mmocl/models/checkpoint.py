from collections.abc import Mapping
from typing import Any

from mmengine.config import Config
from torch import Tensor, nn

from mmocl.model_files import LoadedCheckpoint, load_checkpoint


def load_trained(model: nn.Module, checkpoint: str, what: str) -> None:
    """Load a checkpoint or a published model, every weight of which has to fit.

    The file is read as data: a pickle that asks for more is refused.

    Args:
        model: The model to load into.
        checkpoint: The file.
        what: What the weights have to fit, for the message.

    Raises:
        FileNotFoundError: If the checkpoint is missing.
        ValueError: If the file is damaged or asks for more than weights; see
            :func:`require_fit`.
    """
    load_weights(model, load_checkpoint(checkpoint), what)


def load_weights(model: nn.Module, checkpoint: LoadedCheckpoint, what: str) -> None:
    """Load weights from a checkpoint that was read; see :func:`load_trained`."""
    weights = checkpoint.get('state_dict', checkpoint)
    require_fit(model, weights, f'Checkpoint {checkpoint.path} does not fit {what}')
    model.load_state_dict(weights)


def model_of(config: Config) -> str:
    """Name the model of a config in a message, by its file if there is one."""
    return f'the model of {config.filename!r}' if config.filename else 'the model of the config'


def without_pretrained(backbone: Any) -> Any:
    """Return a backbone's config without its weights, where a checkpoint brings those of all."""
    if not isinstance(backbone, dict):
        return backbone
    changed = {**backbone}
    if changed.get('pretrained') is True:
        changed['pretrained'] = False
    if changed.get('checkpoint') is not None:
        changed['checkpoint'] = None
    if 'backbone' in changed:
        changed['backbone'] = without_pretrained(changed['backbone'])
    model = changed.get('model')  # of a SlotBackbone
    if isinstance(model, str):
        model = Config.fromfile(model).model
    if isinstance(model, dict):
        changed['model'] = {**model, 'backbone': without_pretrained(model.get('backbone'))}
    return changed


def require_fit(model: nn.Module, weights: Mapping[str, Tensor], what: str) -> None:
    """Refuse weights that do not fit a model; MMEngine would load what it can and only warn.

    Args:
        model: The model to load into.
        weights: Weights by name.
        what: What does not fit what, for the message.

    Raises:
        ValueError: If keys are missing or unexpected, or shapes differ; they are named.
    """
    expected = model.state_dict()
    complaints = []
    for text, keys in (
        ('missing keys', expected.keys() - weights.keys()),
        ('unexpected keys', weights.keys() - expected.keys()),
    ):
        if keys:
            complaints.append(f'{len(keys)} {text}: {_shorten(sorted(keys))}')
    shapes = [
        f'{key} is {tuple(weights[key].shape)}, expected {tuple(expected[key].shape)}'
        for key in sorted(expected.keys() & weights.keys())
        if weights[key].shape != expected[key].shape
    ]
    if shapes:
        complaints.append(f'{len(shapes)} other shapes: {_shorten(shapes)}')
    if complaints:
        raise ValueError(f'{what}: ' + '; '.join(complaints) + '.')


def _shorten(names: list[str], num_shown: int = 5) -> str:
    shown = ', '.join(names[:num_shown])
    return shown if len(names) <= num_shown else f'{shown}, ... ({len(names) - num_shown} more)'
