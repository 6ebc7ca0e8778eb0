"""What 'bilevel' and 'implicit' save: updates without a graph keep nothing."""

import pytest
import torch

from mmocl.models.slot_heads import ProbabilisticSlotAttention, SlotAttention, SlotMixture
from mmocl.structures import Features

TOKENS = torch.randn(2, 256, 32, generator=torch.Generator().manual_seed(1))


def _head(cls, gradient):
    return cls({'type': 'LearnedSlots', 'num_slots': 7}, 32, gradient=gradient)


def _kept_bytes(cls, gradient) -> tuple[int, int]:
    """Bytes that the graph keeps for the updates, and for the whole head.

    What the updates share (tokens, keys, values, parameters) counts for the head only.
    """
    head = _head(cls, gradient)
    iterate, shared, kept = head._iterate, set(), {}

    def keep(x):
        # Holding the tensor also keeps its place from being given to another one.
        kept[x.untyped_storage().data_ptr()] = x
        return x

    def recorded(init, inputs, *args):
        tensors = [*vars(inputs).values(), *head.parameters()]
        shared.update(x.untyped_storage().data_ptr() for x in tensors if torch.is_tensor(x))
        shared.update(kept)
        return iterate(init, inputs, *args)

    head._iterate = recorded
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        head(Features(TOKENS.clone().requires_grad_(), (16, 16)))
    size = {place: x.untyped_storage().nbytes() for place, x in kept.items()}
    return sum(size[place] for place in size.keys() - shared), sum(size.values())


@pytest.mark.parametrize('cls', [SlotAttention, ProbabilisticSlotAttention, SlotMixture])
@pytest.mark.parametrize('gradient', ['bilevel', 'implicit'])
def test_three_updates_keep_little_more_than_one(cls, gradient) -> None:
    updates, whole = _kept_bytes(cls, gradient)
    all_updates, all_whole = _kept_bytes(cls, 'unrolled')
    assert 0 < updates <= 0.45 * all_updates
    assert whole < all_whole
