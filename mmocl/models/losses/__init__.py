from mmocl.models.losses.reconstruction import ReconstructionLoss

__all__ = ['ReconstructionLoss']
