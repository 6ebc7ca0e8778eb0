"""Decoders: the direct form against the short cuts, eager and compiled.

"Direct" is the decoder as its paper prints it, written out here on the parameters of ours: every
slot at every position through all layers, and K outputs a position are mixed. Compiled forms go
through ``torch.compile`` with Inductor.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.compiling import compiled_form
from benchmarks.measure import Setting, compare
from mmocl.models.decoders import MLPDecoder, SpatialBroadcastDecoder

NUM_SLOTS = 7
# DINOSAUR (ViT-B/16 and ViT-B/14 at 224x224): slot width, channels, hidden width, hidden layers.
MLP = (256, 768, 2048, 3)
TINY_MLP = (8, 6, 16, 2)
GRIDS = [(14, 14), (16, 16)]
# Slot Attention, table 4: canvas and strides of 64x64 and of 128x128 images, and the batch.
CANVASES = [((64, 64), (1, 1, 1), 2), ((8, 8), (2, 2, 2, 2, 1), 1)]


def run(setting: Setting) -> list[dict[str, Any]]:
    """Compare both forms of all decoders, forward alone and with the backward pass."""
    rows = []
    for name, decoder, batch in _decoders(setting):
        decoder.to(setting.device)
        direct = direct_mlp if isinstance(decoder, MLPDecoder) else direct_broadcast
        slots = torch.randn(
            batch, NUM_SLOTS, _width(decoder), device=setting.device, requires_grad=True
        )
        forms: dict[str, Callable[[Tensor], Tensor]] = {
            'direct': partial(direct, decoder),
            'ours': lambda slots, decoder=decoder: decoder(slots).recon,
        }
        for backward in (False, True):
            case = {
                'decoder': name,
                'B x K': f'{batch} x {NUM_SLOTS}',
                'pass': 'forward + backward' if backward else 'forward',
            }
            rows += [case | row for row in _compared(forms, decoder, slots, backward, setting)]
    return rows


def _compared(
    forms: dict[str, Callable[[Tensor], Tensor]],
    decoder: nn.Module,
    slots: Tensor,
    backward: bool,
    setting: Setting,
) -> list[dict[str, Any]]:
    calls = {name: partial(_call, form, decoder, slots, backward) for name, form in forms.items()}
    compiled, failed = {}, {}
    for name, form in forms.items():
        call = partial(_call, compiled_form(form, setting), decoder, slots, backward)
        try:
            call()
            compiled[f'{name}, compiled'] = call
        except RuntimeError as error:  # no C++ compiler, for one
            failed[f'{name}, compiled'] = str(error).splitlines()[0]
    rows = compare(calls | compiled, setting, 'direct', compiled=compiled)
    return rows + [{'form': name, 'faster': None, 'why': why} for name, why in failed.items()]


def direct_mlp(decoder: MLPDecoder, slots: Tensor) -> Tensor:
    """Every slot at every patch through all layers; K outputs a patch are mixed."""
    hidden = slots[:, :, None] + decoder.position
    for layer in decoder.hidden:
        hidden = functional.relu_(layer(hidden))
    features, alpha = decoder.project(hidden).split([hidden_out(decoder), 1], dim=-1)
    return (features * alpha.softmax(dim=1)).sum(dim=1)


def direct_broadcast(decoder: SpatialBroadcastDecoder, slots: Tensor) -> Tensor:
    """Every slot on a canvas of its own, with positions, through all layers; then mixed."""
    canvas = slots.flatten(0, 1)[:, :, None, None].expand(-1, -1, *decoder.broadcast_size)
    painted = decoder.layers(decoder.position(canvas)).unflatten(0, slots.shape[:2])
    images, alpha = painted.split([decoder.out_channels, 1], dim=2)
    return (images * alpha.softmax(dim=1)).sum(dim=1)


def hidden_out(decoder: MLPDecoder) -> int:
    """Channels of the target; alpha is one more."""
    return decoder.project.out_features - 1


def _decoders(setting: Setting) -> list[tuple[str, nn.Module, int]]:
    width, channels, hidden, num_hidden = TINY_MLP if setting.tiny else MLP
    grids = [(2, 2)] if setting.tiny else GRIDS
    canvases = [((4, 4), (2, 1), 1)] if setting.tiny else CANVASES
    found: list[tuple[str, nn.Module, int]] = []
    for grid in grids:
        name = f'MLP, {grid[0] * grid[1]} patches, {num_hidden} x {hidden}'
        found.append((name, MLPDecoder(width, channels, grid, hidden, num_hidden), 2))
    for canvas, strides, batch in canvases:
        side = canvas[0]
        for stride in strides:
            side *= stride
        name = f'broadcast, {canvas[0]} x {canvas[0]} to {side} x {side}'
        decoder = SpatialBroadcastDecoder(64, 3, 64, canvas, strides)
        found.append((name, decoder, batch))
    return found


def _width(decoder: nn.Module) -> int:
    return decoder.position.shape[-1] if isinstance(decoder, MLPDecoder) else 64


def _call(form: Callable, decoder: nn.Module, slots: Tensor, backward: bool) -> None:
    with torch.set_grad_enabled(backward):
        output = form(slots)
    if backward:
        torch.autograd.grad(output.sum(), [slots, *decoder.parameters()])
