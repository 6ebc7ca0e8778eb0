"""No head or decoder reads a value back from a GPU, or copies one to it, while it runs.

Fake tensors of CUDA: what needs a value raises, and no GPU is needed.
"""

import pytest
import torch
from torch import nn
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from mmocl.models.decoders import (
    ConvDecoder,
    MLPDecoder,
    SpatialBroadcastDecoder,
    TransformerDecoder,
)
from mmocl.models.slot_heads import ProbabilisticSlotAttention, SlotAttention, SlotMixture
from mmocl.structures import Features, Target

START = {'type': 'GaussianSlots', 'num_slots': 4}
HEADS = {
    'sa': lambda: SlotAttention(START, 8, drop_path=0.1),
    'sa-bilevel': lambda: SlotAttention(START, 8, gradient='bilevel', num_heads=2),
    'psa': lambda: ProbabilisticSlotAttention(START, 8, prune_threshold=0.1),
    'psa-map': lambda: ProbabilisticSlotAttention(START, 8, variance='map'),
    'smm': lambda: SlotMixture(START, 8, embed_channels=16),
    'learned': lambda: SlotAttention({'type': 'LearnedSlots', 'num_slots': 4, 'sigma': 0.5}, 8),
    'buffer': lambda: SlotAttention({'type': 'BufferSlots', 'num_slots': 4}, 8),
}
DECODERS = {
    'mlp': lambda: MLPDecoder(8, 5, (4, 6), hidden_channels=16),
    'broadcast': lambda: SpatialBroadcastDecoder(8, channels=8, strides=(2,)),
    'full': lambda: SpatialBroadcastDecoder(8, 3, 8, broadcast_size=(32, 32), strides=(1,)),
    'conv': lambda: ConvDecoder(8, channels=8, strides=(2,)),
}


class NoCopies(TorchDispatchMode):
    """Refuses copies between devices."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        tensors = [x for x in (*args, result) if isinstance(x, torch.Tensor)]
        if func is torch.ops.aten._to_copy.default:
            assert len({x.device.type for x in tensors}) == 1, (func, tensors)
        return result


def _run(module: nn.Module, *args, **kwargs) -> None:
    with NoCopies():
        module(*args, **kwargs)


@pytest.mark.parametrize('name', HEADS)
def test_heads_read_nothing_back(name) -> None:
    with FakeTensorMode():
        with torch.device('cuda'):
            head, tokens = HEADS[name](), torch.randn(2, 64, 8)
            mask, slot_mask = torch.ones(2, 64).bool(), torch.ones(2, 4).bool()
        _run(head, Features(tokens, (8, 8), mask), slot_mask=slot_mask)


@pytest.mark.parametrize('name', DECODERS)
def test_decoders_read_nothing_back(name) -> None:
    with FakeTensorMode():
        with torch.device('cuda'):
            decoder, slots = DECODERS[name](), torch.randn(2, 4, 8)
        _run(decoder, slots)


@pytest.mark.parametrize('average_orders', [False, True])
@pytest.mark.parametrize('training', [False, True])
def test_orders_of_patches_read_nothing_back(training, average_orders) -> None:
    with FakeTensorMode():
        with torch.device('cuda'):
            decoder = TransformerDecoder(
                8, 8, (4, 6), orders=['rows', 'spiral'], average_orders=average_orders, num_heads=2
            ).train(training)
            slots, values = torch.randn(2, 4, 8), torch.randn(2, 24, 8)
        _run(decoder, slots, Target(values, grid=(4, 6)))


def test_reading_back_is_noticed() -> None:
    """Decoding the active slots only needs their number."""
    with FakeTensorMode(), torch.device('cuda'):
        decoder, active = DECODERS['mlp'](), torch.ones(2, 4).bool()
        with pytest.raises(Exception, match='nonzero'):
            _run(decoder, torch.randn(2, 4, 8), active=active)
        with pytest.raises(AssertionError, match='_to_copy'), NoCopies():
            active.to('cpu')
