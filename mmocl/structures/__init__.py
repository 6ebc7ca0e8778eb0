from mmocl.structures.mask_sources import MASK_SOURCES, soft_masks
from mmocl.structures.object_property import ObjectProperty
from mmocl.structures.slot_data_sample import SlotDataSample
from mmocl.structures.slots import (
    Codes,
    Decoded,
    Features,
    ModelOutput,
    SlotInputs,
    SlotOptions,
    SlotOutput,
    SlotState,
    Target,
)

__all__ = [
    'MASK_SOURCES',
    'Codes',
    'Decoded',
    'Features',
    'ModelOutput',
    'ObjectProperty',
    'SlotDataSample',
    'SlotInputs',
    'SlotOptions',
    'SlotOutput',
    'SlotState',
    'Target',
    'soft_masks',
]
