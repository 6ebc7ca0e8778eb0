import mmcv.transforms  # noqa: F401  registers RandomFlip and its like with MMEngine

from mmocl.datasets.transforms.label_format import LabelFormat
from mmocl.datasets.transforms.load_image import CorruptImageError, LoadImage, read_image
from mmocl.datasets.transforms.load_object_masks import MASK_KEYS, LoadObjectMasks
from mmocl.datasets.transforms.load_photo import (
    MAX_PIXELS,
    PHOTO_SUFFIXES,
    LoadPhoto,
    check_header,
    is_photo,
    read_photo,
)
from mmocl.datasets.transforms.orientation import read_orientation, turned
from mmocl.datasets.transforms.pack_slot_inputs import PackSlotInputs, pack_ground_truth
from mmocl.datasets.transforms.resize_crop import ResizeCrop
from mmocl.datasets.transforms.resize_whole import ResizeWhole

__all__ = [
    'MASK_KEYS',
    'MAX_PIXELS',
    'PHOTO_SUFFIXES',
    'CorruptImageError',
    'LabelFormat',
    'LoadImage',
    'LoadObjectMasks',
    'LoadPhoto',
    'PackSlotInputs',
    'ResizeCrop',
    'ResizeWhole',
    'check_header',
    'is_photo',
    'pack_ground_truth',
    'read_image',
    'read_orientation',
    'read_photo',
    'turned',
]
