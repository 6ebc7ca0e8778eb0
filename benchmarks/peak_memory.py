"""Live bytes of the tensors that operators make, on any device and also in the backward pass."""

import weakref
from collections.abc import Callable

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class PeakMemory(TorchDispatchMode):
    """Tracks storages from the operator that made them until they are freed.

    ``peak`` is the most bytes that were alive at once, ``largest`` the elements of the largest
    tensor that has a storage of its own size (an expanded view has not). What existed before does
    not count.
    """

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = self.largest = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        inputs = {_key(x) for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)}
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor) and _key(tensor) not in inputs | self._known:
                self._add(tensor.untyped_storage(), tensor.element_size())
        return result

    def _add(self, storage: torch.UntypedStorage, item: int) -> None:
        key, size = storage._cdata, storage.nbytes()
        self._known.add(key)
        self.live += size
        self.peak = max(self.peak, self.live)
        self.largest = max(self.largest, size // item)
        weakref.finalize(storage, self._remove, key, size)

    def _remove(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.live -= size


def _key(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage()._cdata


def track(function: Callable[[], object]) -> PeakMemory:
    """Run a function and return what its tensors took."""
    with PeakMemory() as memory:
        function()
    return memory
