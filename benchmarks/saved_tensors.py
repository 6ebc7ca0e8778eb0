"""Bytes that a slot head keeps from its forward for its backward pass."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from mmocl.models.slot_heads import SlotHead
from mmocl.structures import Features


@dataclass(frozen=True)
class Saved:
    """What autograd saves, every storage once, parameters and buffers left out.

    Args:
        whole: Bytes of the whole head, tokens included.
        by_iterations: Those that the updates (``SlotHead.step``) save, without what they all look
            at: tokens, keys, values and masks.
    """

    whole: int
    by_iterations: int


def saved_by(head: SlotHead, features: Features) -> Saved:
    """Run a head forward and count what it saves."""
    state = (*head.parameters(), *head.buffers())
    weights = {_storage(x) for x in state}
    whole: dict[int, int] = {}
    steps: dict[int, int] = {}
    shared: set[int] = set()
    inside = False
    step = head.step

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if _storage(tensor) not in weights:
            whole[_storage(tensor)] = storage.nbytes()
            if inside:
                steps[_storage(tensor)] = storage.nbytes()
        # The graph keeps the tensor, so that no other one gets its address.
        return tensor

    def watched(state: Any, inputs: Any) -> Any:
        nonlocal inside
        values = (getattr(inputs, field.name) for field in dataclasses.fields(inputs))
        shared.update(_storage(x) for x in values if isinstance(x, Tensor))
        inside = True
        result = step(state, inputs)
        inside = False
        return result

    head.step = watched
    try:
        with saved_tensors_hooks(pack, lambda tensor: tensor):
            output = head(features)
    finally:
        del head.step  # that of the class is back
    del output
    own = sum(size for storage, size in steps.items() if storage not in shared)
    return Saved(sum(whole.values()), own)


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata
