"""The matrix products and convolutions of a call: their FLOP, and what they take alone."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map
from torch.utils.flop_counter import flop_registry

# PyTorch's formulas, and two products that it does not know.
FORMULAS: dict[Any, Callable[..., int]] = {
    **flop_registry,
    torch.ops.aten.addmm_: flop_registry[torch.ops.aten.addmm],
    torch.ops.aten.baddbmm_: flop_registry[torch.ops.aten.baddbmm],
}


class _Products(TorchDispatchMode):
    """Counts as PyTorch's ``FlopCounterMode``, whose hooks fail where leaves get gradients."""

    def __init__(self, keep: bool) -> None:
        super().__init__()
        self.flop = 0
        self.calls: list[tuple[Callable, Any, Any]] = []
        self._keep = keep
        self._tensors: dict[tuple, Tensor] = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        formula = FORMULAS.get(func._overloadpacket)
        if formula is not None:
            self.flop += formula(*args, **kwargs, out_val=result)
            if self._keep:
                self.calls.append((func, *tree_map(self._stand_in, (args, dict(kwargs)))))
        return result

    def _stand_in(self, value: Any) -> Any:
        """Random numbers with shape, strides and type of a tensor."""
        if not isinstance(value, Tensor):
            return value
        key = (value.shape, value.stride(), value.dtype, value.device)
        if key not in self._tensors:
            pairs = zip(value.shape, value.stride(), strict=True)
            length = 1 + sum((size - 1) * stride for size, stride in pairs)
            numbers = torch.randn(length, dtype=value.dtype, device=value.device)
            self._tensors[key] = numbers.as_strided(value.shape, value.stride())
        return self._tensors[key]


def count_flop(call: Callable[[], object]) -> int:
    """FLOP of the products and convolutions of a call; a multiplication with its addition is 2."""
    return _watch(call, keep=False).flop


def products_of(call: Callable[[], object]) -> Callable[[], None]:
    """Run a call once and return one that runs its products alone, on random numbers."""
    calls = _watch(call, keep=True).calls

    def replay() -> None:
        with torch.no_grad():
            for func, args, kwargs in calls:
                func(*args, **kwargs)

    return replay


def _watch(call: Callable[[], object], keep: bool) -> _Products:
    # The fused kernels of attention differ by device and release, and not all are counted.
    with sdpa_kernel(SDPBackend.MATH), _Products(keep) as products:
        call()
    return products
