from mmocl.models.layers.attention import Attention, KeyValueCache
from mmocl.models.layers.broadcast_conv import broadcast_conv
from mmocl.models.layers.decoder_block import DecoderBlock
from mmocl.models.layers.gaussian import (
    diagonal_log_density,
    token_variance,
    variance_floor,
    weighted_variance,
)
from mmocl.models.layers.map_features import choose_map, map_features
from mmocl.models.layers.patch_embedding import PatchEmbedding
from mmocl.models.layers.patch_orders import PATCH_ORDERS, patch_order
from mmocl.models.layers.precision import at_least_float32
from mmocl.models.layers.require import require
from mmocl.models.layers.require_grid import require_grid
from mmocl.models.layers.resized_positions import resized_positions
from mmocl.models.layers.scatter_slots import gather_slots, require_active, scatter_slots
from mmocl.models.layers.soft_position_embedding import SoftPositionEmbedding
from mmocl.models.layers.token_embedding import TokenEmbedding
from mmocl.models.layers.token_map import TOKEN_MAPS, token_map
from mmocl.models.layers.transposed_convs import transposed_convs

__all__ = [
    'PATCH_ORDERS',
    'TOKEN_MAPS',
    'Attention',
    'DecoderBlock',
    'KeyValueCache',
    'PatchEmbedding',
    'SoftPositionEmbedding',
    'TokenEmbedding',
    'at_least_float32',
    'broadcast_conv',
    'choose_map',
    'diagonal_log_density',
    'gather_slots',
    'map_features',
    'patch_order',
    'require',
    'require_active',
    'require_grid',
    'resized_positions',
    'scatter_slots',
    'token_map',
    'token_variance',
    'transposed_convs',
    'variance_floor',
    'weighted_variance',
]
