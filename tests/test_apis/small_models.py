"""Small models and pictures for tests of inference."""

from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from PIL import Image

from mmocl.apis import SlotInferencer
from mmocl.registry import MODELS


def model_config(initializer: dict | None = None, **parts: dict) -> Config:
    """Config of patches of 2x2 pixels, images of 16x16 in the test."""
    model = {
        'type': 'SlotAutoencoder',
        'backbone': {'type': 'ConvEncoder', 'channels': 8, 'strides': (2,)},
        'slot_head': {
            'type': 'SlotAttention',
            'slot_dim': 12,
            'initializer': initializer or {'type': 'GaussianSlots', 'num_slots': 3},
        },
        'decoder': {'type': 'MLPDecoder', 'grid': (8, 8), 'hidden_channels': 16},
        'target': {'type': 'PixelTarget', 'patch_size': 2},
        'losses': [{'type': 'ReconstructionLoss'}],
    }
    pipeline = [
        {'type': 'LoadImage'},
        {'type': 'ResizeCrop', 'size': 16, 'crop': 'center'},
        {'type': 'LoadObjectMasks'},
        {'type': 'PackSlotInputs'},
    ]
    dataset = {'type': 'ImageFolder', 'pipeline': pipeline}
    return Config({'model': {**model, **parts}, 'test_dataloader': {'dataset': dataset}})


def build_inferencer(config: Config, checkpoint: Path | None = None) -> SlotInferencer:
    """An inferencer of a model that was not trained, but whose masks have edges."""
    torch.manual_seed(0)
    network = MODELS.build(config.model)
    for parameter in network.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.4)
    inferencer = SlotInferencer(config, device='cpu', show_progress=False)
    inferencer.model.load_state_dict(network.state_dict())
    if checkpoint is not None:
        torch.save({'state_dict': network.state_dict()}, checkpoint)
    return inferencer


def noise_image(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A picture of large random blots."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (4, 4, 3), np.uint8)
    return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))
