from mmocl.models.layers.gaussian import diagonal_log_density, weighted_variance
from mmocl.models.layers.soft_position_embedding import SoftPositionEmbedding

__all__ = ['SoftPositionEmbedding', 'diagonal_log_density', 'weighted_variance']
