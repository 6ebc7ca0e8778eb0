from collections.abc import Iterator
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import Tensor

from mmocl.registry import HOOKS


@HOOKS.register_module()
class ChannelsLastHook(Hook):
    """Keep the weights of convolutions, and by them all maps, in the order B, H, W, C of memory.

    Tensor cores and oneDNN work in this order, and would copy to it and back at every layer.
    Results agree up to rounding. Checkpoints are in the usual order, so that they fit with and
    without the hook: fused optimisers go through weights and moments as they lie in memory. For
    models that begin with convolutions; a ViT has one, whose result is made into tokens at once.
    Under DDP, whose buckets are older than the order, PyTorch copies gradients and says so.

    Use it by ``custom_hooks = [dict(type='StrictCheckpointHook'), dict(type='ChannelsLastHook')]``.
    """

    priority = 'VERY_HIGH'

    def before_run(self, runner: Runner) -> None:
        """Reorder the weights; the images follow at the first convolution."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        model.to(memory_format=torch.channels_last)

    def before_train(self, runner: Runner) -> None:
        """Reorder the moments of an optimiser that was resumed like their weights."""
        wrapper = runner.optim_wrapper
        for part in [wrapper] if isinstance(wrapper, OptimWrapper) else wrapper.values():
            for weight, values in part.optimizer.state.items():
                for name, value in _maps(values):
                    if value.shape == weight.shape:
                        values[name] = torch.empty_like(weight, dtype=value.dtype).copy_(value)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Save the moments in the usual order."""
        saved = checkpoint.get('optimizer', {})
        for part in [saved] if 'state' in saved else saved.values():
            for index, values in part.get('state', {}).items():
                # The checkpoint shares the dicts of the optimiser itself.
                usual = {name: value.contiguous() for name, value in _maps(values)}
                part['state'][index] = {**values, **usual}


def _maps(values: dict[str, Any]) -> Iterator[tuple[str, Tensor]]:
    for name, value in list(values.items()):
        if isinstance(value, Tensor) and value.ndim == 4:
            yield name, value
