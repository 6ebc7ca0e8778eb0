from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from mmocl.structures import Features


def map_features(maps: Float[Tensor, 'B C h w']) -> Features:
    """Turn the feature maps of a backbone into tokens, row by row."""
    return Features(maps.flatten(2).transpose(1, 2), (maps.shape[2], maps.shape[3]))


def choose_map(maps: Sequence[Tensor], index: int, name: str) -> Float[Tensor, 'B C h w']:
    """Take one of the maps of a backbone.

    Args:
        maps: The maps.
        index: Which one; negative counts from the last.
        name: The argument that says so, for the message.

    Raises:
        ValueError: If there is no such map.
    """
    if not isinstance(index, int) or not -len(maps) <= index < len(maps):
        channels = [one.shape[1] for one in maps]
        raise ValueError(
            f'{name} is {index}, but the backbone gives {len(maps)} map(s), of {channels} '
            'channels; its out_indices choose them.'
        )
    return maps[index]
