"""How time and memory grow with tokens, slots, iterations, images and resolution.

Forward and backward, one size changed at a time. The exponent is the slope of a least-squares line
through the logarithms of all measured points (of the medians, for time), R2 how well it fits: 1 is
linear growth. Fixed costs make it smaller where sizes are small.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.measure import Setting, compare
from mmocl.models.backbones import TimmBackbone
from mmocl.models.decoders import MLPDecoder, SpatialBroadcastDecoder
from mmocl.models.layers import diagonal_log_density
from mmocl.models.slot_heads import ProbabilisticSlotAttention, SlotAttention, SlotMixture
from mmocl.structures import Features

HEADS = {'SlotAttention': SlotAttention, 'PSA': ProbabilisticSlotAttention, 'SMM': SlotMixture}
# B images, N tokens, K slots, D channels, T iterations, unless they are what grows.
BASE = {'B': 4, 'N': 256, 'K': 7, 'D': 128, 'T': 3}
TINY = {'B': 1, 'N': 16, 'K': 2, 'D': 8, 'T': 1}
AXES = {
    'N': (64, 256, 1024, 4096),
    'K': (4, 8, 16, 32, 64),
    'T': (1, 2, 4, 8),
    'B': (1, 2, 4, 8, 16),
}
# Side of the image: tokens grow with its square.
VIT_SIDES = (112, 224, 448)
CANVAS_SIDES = (16, 32, 64)
TINY_SIDES = (16, 32)

Maker = Callable[..., Callable[[], object]]


def run(setting: Setting) -> list[dict[str, Any]]:
    """Measure all points of all curves and fit them."""
    rows = []
    for what, maker, axes in _subjects(setting):
        for axis, values in axes.items():
            if setting.tiny:
                values = TINY_SIDES if axis == 'side' else values[:2]
            calls = {str(value): maker(**{axis: value}) for value in values}
            points = compare(calls, setting, flop=False)
            rows.append({'what': what, 'against': axis} | _fitted(values, points))
    return rows


def fit(sizes: Sequence[float], costs: Sequence[float]) -> tuple[float, float]:
    """Exponent and R2 of the power law that is nearest in logarithms."""
    x, y = np.log(sizes), np.log(costs)
    slope, offset = np.polyfit(x, y, 1)
    left = ((y - slope * x - offset) ** 2).sum()
    total = ((y - y.mean()) ** 2).sum()
    return float(slope), float(1 - left / total) if total else 1.0


def _fitted(sizes: Sequence[int], measured: list[dict[str, Any]]) -> dict[str, Any]:
    times = [point['seconds']['median'] for point in measured]
    peaks = [point['peak_bytes'] for point in measured]
    time_fit, memory_fit = fit(sizes, times), fit(sizes, peaks)
    return {
        'sizes': f'{sizes[0]} to {sizes[-1]}',
        'time_exponent': time_fit[0],
        'time_R2': time_fit[1],
        'memory_exponent': memory_fit[0],
        'memory_R2': memory_fit[1],
        'smallest_seconds': times[0],
        'largest_seconds': times[-1],
        'points': [
            {'size': size, 'seconds': point['seconds'], 'peak_bytes': point['peak_bytes']}
            for size, point in zip(sizes, measured, strict=True)
        ],
    }


def _subjects(setting: Setting) -> list[tuple[str, Maker, Mapping[str, Sequence[int]]]]:
    """What is measured: its name, what makes a call for sizes, and the sizes."""
    some = {name: AXES[name] for name in ('N', 'K', 'B')}
    subjects: list[tuple[str, Maker, Mapping[str, Sequence[int]]]] = [
        (name, partial(_head, setting, name), AXES) for name in HEADS
    ]
    subjects += [
        ('density', partial(_density, setting), some),
        ('MLP decoder, 3 x 512', partial(_mlp_decoder, setting), some),
        ('broadcast decoder', partial(_broadcast_decoder, setting), {'side': CANVAS_SIDES}),
        ('ViT-S/14, forward', partial(_vit, setting), {'side': VIT_SIDES}),
    ]
    return subjects


def _head(setting: Setting, name: str, **changed: int) -> Callable[[], None]:
    size = (TINY if setting.tiny else BASE) | changed
    initializer = {'type': 'GaussianSlots', 'num_slots': size['K']}
    head = HEADS[name](initializer, size['D'], num_iters=size['T']).to(setting.device)
    tokens = _draw(setting, size['B'], size['N'], size['D'])
    side = math.isqrt(size['N'])
    features = Features(tokens, (side, side))
    return lambda: _backward(head(features).slots, tokens, head)


def _density(setting: Setting, **changed: int) -> Callable[[], None]:
    size = (TINY if setting.tiny else BASE) | changed
    inputs = [_draw(setting, size['B'], n, size['D']) for n in (size['N'], size['K'], size['K'])]

    def call() -> None:
        torch.autograd.grad(diagonal_log_density(*inputs).sum(), inputs)

    return call


def _mlp_decoder(setting: Setting, **changed: int) -> Callable[[], None]:
    size = (TINY if setting.tiny else {**BASE, 'B': 1}) | changed
    side = math.isqrt(size['N'])
    hidden = 8 if setting.tiny else 512
    decoder = MLPDecoder(size['D'], 384, (side, side), hidden).to(setting.device)
    slots = _draw(setting, size['B'], size['K'], size['D'])
    return lambda: _backward(decoder(slots).recon, slots, decoder)


def _broadcast_decoder(setting: Setting, side: int) -> Callable[[], None]:
    channels = 4 if setting.tiny else 32
    decoder = SpatialBroadcastDecoder(channels, 3, channels, (side, side), (1, 1, 1))
    decoder.to(setting.device)
    slots = _draw(setting, 1, BASE['K'], channels)
    return lambda: _backward(decoder(slots).recon, slots, decoder)


def _vit(setting: Setting, side: int) -> Callable[[], object]:
    name = 'test_vit' if setting.tiny else 'vit_small_patch14_dinov2.lvd142m'
    backbone = TimmBackbone(name).to(setting.device)
    return partial(backbone, torch.randn(1, 3, side, side, device=setting.device))


def _draw(setting: Setting, *shape: int) -> Tensor:
    return torch.randn(*shape, device=setting.device, requires_grad=True)


def _backward(output: Tensor, inputs: Tensor, module: nn.Module) -> None:
    torch.autograd.grad(output.sum(), [inputs, *module.parameters()], allow_unused=True)
