from mmocl.models.targets.base import ReconstructionTarget
from mmocl.models.targets.feature_target import FeatureTarget
from mmocl.models.targets.pixel_target import PixelTarget
from mmocl.models.targets.token_target import TokenTarget

__all__ = ['FeatureTarget', 'PixelTarget', 'ReconstructionTarget', 'TokenTarget']
