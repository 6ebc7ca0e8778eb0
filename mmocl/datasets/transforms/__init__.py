import mmcv.transforms  # noqa: F401  registers RandomFlip and its like with MMEngine

from mmocl.datasets.transforms.label_format import LabelFormat
from mmocl.datasets.transforms.load_image import CorruptImageError, LoadImage, read_image
from mmocl.datasets.transforms.load_object_masks import LoadObjectMasks
from mmocl.datasets.transforms.pack_slot_inputs import PackSlotInputs
from mmocl.datasets.transforms.resize_crop import ResizeCrop

__all__ = [
    'CorruptImageError',
    'LabelFormat',
    'LoadImage',
    'LoadObjectMasks',
    'PackSlotInputs',
    'ResizeCrop',
    'read_image',
]
