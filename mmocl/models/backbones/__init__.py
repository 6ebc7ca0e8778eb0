from mmocl.models.backbones.conv_encoder import ConvEncoder
from mmocl.models.backbones.map_backbone import MapBackbone
from mmocl.models.backbones.slot_backbone import SlotBackbone
from mmocl.models.backbones.timm_backbone import TimmBackbone
from mmocl.models.backbones.token_backbone import TokenBackbone

__all__ = ['ConvEncoder', 'MapBackbone', 'SlotBackbone', 'TimmBackbone', 'TokenBackbone']
