from mmocl.structures.slot_data_sample import SlotDataSample
from mmocl.structures.slots import (
    Decoded,
    Features,
    ModelOutput,
    SlotOutput,
    SlotState,
    Target,
)

__all__ = [
    'Decoded',
    'Features',
    'ModelOutput',
    'SlotDataSample',
    'SlotOutput',
    'SlotState',
    'Target',
]
