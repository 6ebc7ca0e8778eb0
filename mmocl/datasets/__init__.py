from mmocl.datasets import transforms
from mmocl.datasets.coco_objects import CocoObjects
from mmocl.datasets.image_folder import ImageFolder
from mmocl.datasets.object_dataset import ObjectDataset
from mmocl.datasets.synthetic import ColoredSprites
from mmocl.datasets.token_cache import TokenCache
from mmocl.datasets.voc_objects import VocObjects

__all__ = [
    'CocoObjects',
    'ColoredSprites',
    'ImageFolder',
    'ObjectDataset',
    'TokenCache',
    'VocObjects',
    'transforms',
]
