from mmocl.models.initializers.base import SlotInitializer
from mmocl.models.initializers.buffer_slots import BufferSlots
from mmocl.models.initializers.gaussian_slots import GaussianSlots
from mmocl.models.initializers.learned_slots import LearnedSlots
from mmocl.models.initializers.pooled_slots import PooledSlots
from mmocl.models.initializers.transformer_slots import TransformerSlots

__all__ = [
    'BufferSlots',
    'GaussianSlots',
    'LearnedSlots',
    'PooledSlots',
    'SlotInitializer',
    'TransformerSlots',
]
