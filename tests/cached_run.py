"""A small run of DINOSAUR's kind, and ``tools/cache_features.py`` as a user calls it."""

import sys
from pathlib import Path

import cache_features
import numpy as np
import timm
import torch
from mmengine.config import Config
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
NUM_IMAGES = 9
PIPELINE = [
    {'type': 'LoadImage', 'min_side': 32},
    {'type': 'ResizeCrop', 'size': 32, 'crop': 'random'},
    {'type': 'RandomFlip', 'prob': 0.5},
    {'type': 'PackSlotInputs'},
]
CENTER = [PIPELINE[0], {**PIPELINE[1], 'crop': 'center'}, PIPELINE[3]]


def write_run(root: Path) -> Path:
    """Photographs, weights of two small ViTs, and a config."""
    (root / 'data').mkdir()
    rng = np.random.default_rng(0)
    for i in range(NUM_IMAGES):
        pixels = rng.integers(0, 256, (5, 7, 3), np.uint8).repeat(16, 0).repeat(16, 1)
        Image.fromarray(pixels).save(root / f'data/{i}.jpg')
    for seed in range(2):
        torch.manual_seed(seed)
        vit = timm.create_model('test_vit', num_classes=0)
        torch.save(vit.state_dict(), root / f'vit{seed}.pth')
    config(root).dump(root / 'config.py')
    return root


def config(root: Path, pipeline: list[dict] = PIPELINE, **change: object) -> Config:
    """A run of DINOSAUR's kind on a small ViT."""
    loader = {
        'batch_size': 3,
        'num_workers': 0,
        'sampler': {'type': 'InfiniteSampler', 'shuffle': True},
        'collate_fn': {'type': 'mmocl.stack_inputs'},
        'dataset': {
            **{'type': 'ImageFolder', 'data_root': str(root / 'data')},
            **{'pipeline': pipeline, **change},
        },
    }
    model = {
        'type': 'SlotAutoencoder',
        'data_preprocessor': {
            'type': 'SlotDataPreprocessor',
            'mean': (123.675, 116.28, 103.53),
            'std': (58.395, 57.12, 57.375),
        },
        'backbone': {
            'type': 'TimmBackbone',
            'model_name': 'test_vit',
            'checkpoint': str(root / 'vit0.pth'),
        },
        'slot_head': {
            **{'type': 'SlotAttention', 'slot_dim': 16},
            'initializer': {'type': 'GaussianSlots', 'num_slots': 3},
        },
        'decoder': {'type': 'MLPDecoder', 'grid': (2, 2), 'hidden_channels': 16, 'num_hidden': 2},
        'target': {'type': 'FeatureTarget'},
        'losses': [{'type': 'ReconstructionLoss'}],
    }
    runtime = Config.fromfile(ROOT / 'configs/_base_/default_runtime.py')
    runtime.merge_from_dict(
        {
            'model': model,
            'train_dataloader': loader,
            'train_cfg': {'type': 'IterBasedTrainLoop', 'max_iters': 6},
            'optim_wrapper': {'optimizer': {'type': 'Adam', 'lr': 1e-3}},
            'default_hooks.checkpoint': None,
            'work_dir': str(root / 'work'),
        }
    )
    return runtime


def cache(root: Path, name: str, *options: str) -> Path:
    """Run the tool in this process."""
    threads, command = torch.get_num_threads(), sys.argv
    out = root / name
    try:
        sys.argv = ['cache_features.py', str(root / 'config.py'), '--out', str(out), *options]
        if '--num-processes' not in options:
            sys.argv += ['--num-processes', '1']
        cache_features.main()
    finally:
        sys.argv = command
        torch.set_num_threads(threads)
    return out


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}
