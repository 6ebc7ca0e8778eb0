from mmocl.models.losses.cosine import CosineSlotLoss
from mmocl.models.losses.covariance import CovarianceLoss
from mmocl.models.losses.discretized_gaussian import DiscretizedGaussianLoss
from mmocl.models.losses.reconstruction import ReconstructionLoss
from mmocl.models.losses.set_prediction import SetPredictionLoss
from mmocl.models.losses.token_cross_entropy import TokenCrossEntropyLoss
from mmocl.models.losses.vq_constraint import VQConstraintLoss

__all__ = [
    'CosineSlotLoss',
    'CovarianceLoss',
    'DiscretizedGaussianLoss',
    'ReconstructionLoss',
    'SetPredictionLoss',
    'TokenCrossEntropyLoss',
    'VQConstraintLoss',
]
