from jaxtyping import Float
from torch import Tensor

from mmocl.structures import Features


def map_features(maps: Float[Tensor, 'B C h w']) -> Features:
    """Turn the feature maps of a backbone into tokens, row by row."""
    return Features(maps.flatten(2).transpose(1, 2), (maps.shape[2], maps.shape[3]))
