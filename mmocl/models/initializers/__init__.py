from mmocl.models.initializers.base import SlotInitializer
from mmocl.models.initializers.gaussian_slots import GaussianSlots
from mmocl.models.initializers.learned_slots import LearnedSlots

__all__ = ['GaussianSlots', 'LearnedSlots', 'SlotInitializer']
