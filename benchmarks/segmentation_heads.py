"""SlotSemanticHead against mmsegmentation's FCNHead, on the same maps.

The heads are those of projects/mmseg_slot_head; a ViT-S/14 at 224x224 gives maps of 384x16x16. The
training pass has no optimiser. Memory is without that of the parameters.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from mmengine.structures import PixelData
from torch import Tensor, nn

from benchmarks.measure import Setting, compare
from mmocl.require_module import require_module

CONFIGS = Path(__file__).resolve().parents[1] / 'projects/mmseg_slot_head/configs'
FILES = {'FCNHead': 'fcn_voc.py', 'slots': 'slot_semantic_voc.py'}
CHANNELS, GRID, SIDE, NUM_CLASSES = 384, 16, 224, 21


def run(setting: Setting) -> list[dict[str, Any]]:
    """Compare predictions, and training passes."""
    structures = require_module('mmseg.structures', 'segmentation', 'segmentation_heads')
    batch, grid, side = (1, 8, 16) if setting.tiny else (8, GRID, SIDE)
    metas = {'img_shape': (side, side), 'ori_shape': (side, side)}
    maps = torch.randn(batch, CHANNELS, grid, grid, device=setting.device)
    samples = []
    for _ in range(batch):
        labels = torch.randint(NUM_CLASSES, (1, side, side), device=setting.device)
        sample = structures.SegDataSample(metainfo=metas, gt_sem_seg=PixelData(data=labels))
        samples.append(sample)
    calls: dict[str, dict[str, Callable[[], object]]] = {}
    parameters = {}
    with DefaultScope.overwrite_default_scope('mmseg'):
        for name, file in FILES.items():
            head = MODELS.build(Config.fromfile(CONFIGS / file).model.decode_head)
            head.to(setting.device)
            parameters[name] = sum(p.numel() for p in head.parameters())
            for kind, call in passes(head, maps, samples, metas).items():
                calls.setdefault(kind, {})[name] = call
        rows = []
        for kind, forms in calls.items():
            for row in compare(forms, setting, 'FCNHead'):
                rows.append({'pass': kind, **row, 'parameters': parameters[row['form']]})
    return rows


def passes(
    head: nn.Module, maps: Tensor, samples: list, metas: dict
) -> dict[str, Callable[[], object]]:
    """A prediction, and a training step without its optimiser."""

    def predict() -> Tensor:
        head.eval()
        with torch.no_grad():
            return head.predict((maps,), [metas] * len(maps), {'mode': 'whole'})

    def train() -> None:
        head.train()
        losses = head.loss((maps,), samples, {})
        sum(value for name, value in losses.items() if 'loss' in name).backward()
        head.zero_grad()

    return {'predict': predict, 'loss + backward': train}
