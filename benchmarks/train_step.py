"""Whole training steps of DINOSAUR and PSA at the papers' shape, from images and cached tokens.

Models and optimisers are those of configs/dinosaur and configs/psa with new weights: forward, loss,
backward, clipping and update, as MMEngine does them. "On the fly" starts from images in memory,
which pass the frozen backbone in every step; "cached" from its tokens in memory. Neither reads
data. FLOP are counted (benchmarks/products.py), and those of a second compared with what a large
matrix product reaches on the same device in the same type, measured in the same run.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper, build_optim_wrapper
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from benchmarks.measure import Setting, compare, matmul_peak, spread
from mmocl.engine.hooks import CompileHook
from mmocl.engine.hooks.deferred_info_hook import take_norm
from mmocl.registry import MODELS

CONFIGS = Path(__file__).resolve().parents[1] / 'configs'
FILES = {'DINOSAUR': 'dinosaur/dinosaur_mlp_coco.py', 'PSA': 'psa/psa_dino_coco.py'}
# Overrides of the backbone, its width, and the side of a patch.
BACKBONES = {
    'ViT-B/16': ({'model_name': 'vit_base_patch16_224.dino'}, 768, 16),
    'ViT-S/14': ({'model_name': 'vit_small_patch14_dinov2.lvd142m', 'norm': True}, 384, 14),
    'tiny': ({'model_name': 'test_vit'}, 64, 16),
}
# Backbone, and width of the three hidden layers of the decoder.
SHAPES = [('ViT-B/16', 2048), ('ViT-S/14', 2048), ('ViT-S/14', 512)]
TYPES = {'fp32': (torch.float32, 'OptimWrapper'), 'bf16': (torch.bfloat16, 'Bf16OptimWrapper')}


def run(setting: Setting) -> list[dict[str, Any]]:
    """Compare steps from cached tokens with those from images, in every type."""
    rows: list[dict[str, Any]] = []
    with DefaultScope.overwrite_default_scope('mmocl'):
        for dtype, (torch_type, _) in TYPES.items():
            measured: list[dict[str, Any]] = []
            peaks = []
            for name in FILES:
                for backbone, hidden in [('tiny', 16)] if setting.tiny else SHAPES:
                    case = {
                        'model': name,
                        'backbone': backbone,
                        'decoder': f'3 x {hidden}',
                        'type': dtype,
                    }
                    # Beside every model, so that no slow moment makes the peak small.
                    peaks.append(matmul_peak(setting, torch_type))
                    found = _compared(name, backbone, hidden, dtype, setting)
                    measured += [case | row for row in found]
            rows += [_against_peak(row, max(peaks)) for row in measured]
    return rows


def build(name: str, backbone: str, hidden: int, side: int) -> tuple[nn.Module, dict]:
    """The model of a config with another backbone and decoder width, and the optimiser's config."""
    cfg = Config.fromfile(CONFIGS / FILES[name])
    overrides, width, patch = BACKBONES[backbone]
    cfg.model.backbone.update(overrides, pretrained=False)
    cfg.model.decoder.update(grid=(side // patch, side // patch), hidden_channels=hidden)
    if 'embed_channels' in cfg.model.slot_head:  # DINOSAUR's has the width of the backbone
        cfg.model.slot_head.embed_channels = width
    return MODELS.build(cfg.model), cfg.optim_wrapper


def step(model: nn.Module, optimizer: OptimWrapper, inputs: Tensor) -> None:
    """One training step without data, logs and hooks."""
    with optimizer.optim_context(model):
        losses = model.loss(inputs)
    optimizer.update_params(model.parse_losses(losses)[0])


def _compared(
    name: str, backbone: str, hidden: int, dtype: str, setting: Setting
) -> list[dict[str, Any]]:
    side = 64 if setting.tiny else 224
    batch = 2 if setting.device == 'cpu' else 64
    images = torch.randn(batch, 3, side, side, device=setting.device)
    calls: dict[str, Callable[[], None]] = {}
    compiled = [False] + [True] * (setting.compile or setting.device == 'cuda')
    for through_compiler in compiled:
        model, wrapper = build(name, backbone, hidden, side)
        model.to(setting.device).train()
        optimizer = build_optim_wrapper(model, {**wrapper, 'type': TYPES[dtype][1]})
        # As in training, the norm of the gradients stays on the device.
        take_norm(optimizer, lambda name, norm: None)
        with torch.no_grad(), optimizer.optim_context(model):
            tokens = model.extract(images).tokens.clone()
        for form, inputs in (('on the fly', images), ('cached', tokens)):
            label = f'{form}, compiled' if through_compiler else form
            calls[label] = partial(step, model, optimizer, inputs)
        if through_compiler:
            torch._dynamo.reset()
            CompileHook(backend='eager' if setting.tiny else 'inductor').compile(model)
    unseen = [label for label in calls if label.endswith('compiled')]
    rows = compare(calls, setting, 'on the fly', images=batch, compiled=unseen)
    counts = {row['form']: row['flop'] for row in rows}
    for row in rows:
        # The compiler changes no product that is counted.
        row['flop'] = counts[row['form'].removesuffix(', compiled')]
        row['batch'] = batch
    return rows


def _against_peak(row: dict[str, Any], peak: float) -> dict[str, Any]:
    flop, batch = row.pop('flop'), row.pop('batch')
    rate = {key: flop / value for key, value in row['seconds'].items()}
    return row | {
        'share_of_matmul_peak': spread(value / peak for value in rate.values()),
        'flop_an_image': flop / batch,
        'batch': batch,
        'matmul_peak_flop_per_second': peak,
    }
