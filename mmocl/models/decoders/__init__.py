from mmocl.models.decoders.mlp_decoder import MLPDecoder
from mmocl.models.decoders.property_decoder import PropertyDecoder
from mmocl.models.decoders.spatial_broadcast import SpatialBroadcastDecoder

__all__ = ['MLPDecoder', 'PropertyDecoder', 'SpatialBroadcastDecoder']
