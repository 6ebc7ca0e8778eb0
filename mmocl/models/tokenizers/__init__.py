from mmocl.models.tokenizers.discrete_vae import DiscreteVAE

__all__ = ['DiscreteVAE']
