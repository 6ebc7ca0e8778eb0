from mmocl.models.slot_heads.base import SlotHead
from mmocl.models.slot_heads.initial_slots import InitialSlots
from mmocl.models.slot_heads.probabilistic_slot_attention import ProbabilisticSlotAttention
from mmocl.models.slot_heads.slot_attention import SlotAttention
from mmocl.models.slot_heads.slot_mixture import SlotMixture

__all__ = [
    'InitialSlots',
    'ProbabilisticSlotAttention',
    'SlotAttention',
    'SlotHead',
    'SlotMixture',
]
