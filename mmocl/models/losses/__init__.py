from mmocl.models.losses.reconstruction import ReconstructionLoss
from mmocl.models.losses.vq_constraint import VQConstraintLoss

__all__ = ['ReconstructionLoss', 'VQConstraintLoss']
