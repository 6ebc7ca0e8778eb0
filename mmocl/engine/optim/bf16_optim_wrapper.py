from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.optim import OptimWrapper
from torch import nn

from mmocl.registry import OPTIM_WRAPPERS


@OPTIM_WRAPPERS.register_module()
class Bf16OptimWrapper(OptimWrapper):
    """Train under bfloat16 autocast on any device, the CPU too.

    bfloat16 has the range of float32, so no loss scaling is needed. MMEngine's ``AmpOptimWrapper``
    refuses to run without an accelerator. It pays on processors with
    native bfloat16. Takes the arguments of ``OptimWrapper``.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Run the forward pass of ``model`` in bfloat16 where autocast allows it."""
        device = next(model.parameters()).device.type
        with super().optim_context(model), torch.autocast(device, torch.bfloat16):
            yield
