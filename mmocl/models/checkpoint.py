from collections.abc import Mapping

from torch import Tensor, nn


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
