from mmocl.models.decoders.conv_decoder import ConvDecoder
from mmocl.models.decoders.mlp_decoder import MLPDecoder
from mmocl.models.decoders.property_decoder import PropertyDecoder
from mmocl.models.decoders.spatial_broadcast import SpatialBroadcastDecoder
from mmocl.models.decoders.transformer_decoder import TransformerDecoder

__all__ = [
    'ConvDecoder',
    'MLPDecoder',
    'PropertyDecoder',
    'SpatialBroadcastDecoder',
    'TransformerDecoder',
]
