from mmocl.models import (
    backbones,
    decoders,
    initializers,
    losses,
    necks,
    seg_heads,
    slot_heads,
    targets,
    tokenizers,
)
from mmocl.models.slot_autoencoder import SlotAutoencoder
from mmocl.models.slot_data_preprocessor import SlotDataPreprocessor
from mmocl.models.slot_set_predictor import SlotSetPredictor

__all__ = [
    'SlotAutoencoder',
    'SlotDataPreprocessor',
    'SlotSetPredictor',
    'backbones',
    'decoders',
    'initializers',
    'losses',
    'necks',
    'seg_heads',
    'slot_heads',
    'targets',
    'tokenizers',
]
