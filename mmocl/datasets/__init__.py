from mmocl.datasets import transforms
from mmocl.datasets.clevr_masks import ClevrMasks
from mmocl.datasets.clevr_scenes import ClevrScenes
from mmocl.datasets.clevrtex import ClevrTex
from mmocl.datasets.coco_objects import CocoObjects
from mmocl.datasets.coco_panoptic import CocoPanoptic
from mmocl.datasets.ecssd import Ecssd
from mmocl.datasets.flowers17 import Flowers17
from mmocl.datasets.image_folder import ImageFolder
from mmocl.datasets.object_dataset import ObjectDataset
from mmocl.datasets.objects_room import ObjectsRoom
from mmocl.datasets.shapestacks import ShapeStacks
from mmocl.datasets.slot_seg_dataset import SlotSegDataset
from mmocl.datasets.synthetic import ColoredSprites
from mmocl.datasets.token_cache import TokenCache
from mmocl.datasets.voc_objects import VocObjects

__all__ = [
    'ClevrMasks',
    'ClevrScenes',
    'ClevrTex',
    'CocoObjects',
    'CocoPanoptic',
    'ColoredSprites',
    'Ecssd',
    'Flowers17',
    'ImageFolder',
    'ObjectDataset',
    'ObjectsRoom',
    'ShapeStacks',
    'SlotSegDataset',
    'TokenCache',
    'VocObjects',
    'transforms',
]
