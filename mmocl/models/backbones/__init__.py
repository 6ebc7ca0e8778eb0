from mmocl.models.backbones.conv_encoder import ConvEncoder
from mmocl.models.backbones.timm_backbone import TimmBackbone

__all__ = ['ConvEncoder', 'TimmBackbone']
