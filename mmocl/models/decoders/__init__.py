from mmocl.models.decoders.mlp_decoder import MLPDecoder
from mmocl.models.decoders.spatial_broadcast import SpatialBroadcastDecoder

__all__ = ['MLPDecoder', 'SpatialBroadcastDecoder']
