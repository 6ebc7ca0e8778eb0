from mmocl.datasets import transforms
from mmocl.datasets.cached_features import CachedFeatures
from mmocl.datasets.clevr_masks import ClevrMasks
from mmocl.datasets.clevr_scenes import ClevrScenes
from mmocl.datasets.clevrtex import ClevrTex
from mmocl.datasets.coco_objects import CocoObjects
from mmocl.datasets.coco_panoptic import CocoPanoptic
from mmocl.datasets.ecssd import Ecssd
from mmocl.datasets.feature_cache import FeatureCache
from mmocl.datasets.flowers17 import Flowers17
from mmocl.datasets.image_cache import ImageCache
from mmocl.datasets.image_folder import ImageFolder
from mmocl.datasets.object_dataset import ObjectDataset
from mmocl.datasets.objects_room import ObjectsRoom
from mmocl.datasets.shapestacks import ShapeStacks
from mmocl.datasets.slot_seg_dataset import SlotSegDataset
from mmocl.datasets.stack_inputs import stack_inputs
from mmocl.datasets.synthetic import ColoredSprites
from mmocl.datasets.view_images import ViewImages
from mmocl.datasets.voc_objects import VocObjects

__all__ = [
    'CachedFeatures',
    'ClevrMasks',
    'ClevrScenes',
    'ClevrTex',
    'CocoObjects',
    'CocoPanoptic',
    'ColoredSprites',
    'Ecssd',
    'FeatureCache',
    'Flowers17',
    'ImageCache',
    'ImageFolder',
    'ObjectDataset',
    'ObjectsRoom',
    'ShapeStacks',
    'SlotSegDataset',
    'ViewImages',
    'VocObjects',
    'stack_inputs',
    'transforms',
]
