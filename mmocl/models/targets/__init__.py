from mmocl.models.targets.feature_target import FeatureTarget
from mmocl.models.targets.pixel_target import PixelTarget

__all__ = ['FeatureTarget', 'PixelTarget']
