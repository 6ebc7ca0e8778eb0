import torch
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from mmocl.registry import HOOKS


@HOOKS.register_module()
class ChannelsLastHook(Hook):
    """Keep the weights of convolutions, and by them all maps, in the order B, H, W, C of memory.

    Tensor cores and oneDNN work in this order, and would copy to it and back at every layer.
    Results agree up to rounding, checkpoints are the same. For models that begin with convolutions;
    a ViT has one, whose result is made into tokens at once.

    Use it by ``custom_hooks = [dict(type='StrictCheckpointHook'), dict(type='ChannelsLastHook')]``.
    """

    priority = 'VERY_HIGH'

    def before_run(self, runner: Runner) -> None:
        """Reorder the weights; the images follow at the first convolution."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        model.to(memory_format=torch.channels_last)
