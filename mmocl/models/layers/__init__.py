from mmocl.models.layers.gaussian import (
    diagonal_log_density,
    token_variance,
    variance_floor,
    weighted_variance,
)
from mmocl.models.layers.precision import at_least_float32
from mmocl.models.layers.require import require
from mmocl.models.layers.scatter_slots import gather_slots, scatter_slots
from mmocl.models.layers.soft_position_embedding import SoftPositionEmbedding
from mmocl.models.layers.transposed_convs import transposed_convs

__all__ = [
    'SoftPositionEmbedding',
    'at_least_float32',
    'diagonal_log_density',
    'gather_slots',
    'require',
    'scatter_slots',
    'token_variance',
    'transposed_convs',
    'variance_floor',
    'weighted_variance',
]
