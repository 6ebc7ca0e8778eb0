import subprocess
import sys

import pytest

# Dynamo cannot trace the checks of shapes that pytest installs here, hence another process.
SCRIPT = """
import sys
import torch
from mmocl.models.decoders import MLPDecoder, SpatialBroadcastDecoder
from mmocl.models.slot_heads import ProbabilisticSlotAttention, SlotAttention, SlotMixture
from mmocl.structures import Features

START = {'type': 'mmocl.LearnedSlots', 'num_slots': 4}


def build_head(cls, **options):
    return cls(START, 12, 16, embed_channels=24, **options)


HEADS = {
    'sa': lambda: build_head(SlotAttention, num_heads=4, qkv_bias=True),
    'psa': lambda: build_head(ProbabilisticSlotAttention, variance='map', gradient='bilevel'),
    'smm': lambda: build_head(SlotMixture, gradient='implicit'),
}
DECODERS = {
    'mlp': lambda: MLPDecoder(16, 5, (4, 6), hidden_channels=32),
    'broadcast': lambda: SpatialBroadcastDecoder(16, channels=8, strides=(2,)),
    'broadcast_full': lambda: SpatialBroadcastDecoder(
        16, channels=8, broadcast_size=(32, 32), strides=(1,)
    ),
}


def results(name, module, called, batch_size):
    shape = (36, 12) if name in HEADS else (4, 16)
    generator = torch.Generator().manual_seed(batch_size)
    inputs = torch.randn(batch_size, *shape, generator=generator).requires_grad_()
    torch._dynamo.mark_dynamic(inputs, 0)
    module.zero_grad()
    output = called(Features(inputs, (6, 6)) if name in HEADS else inputs)
    outputs = [output.slots, output.attn] if name in HEADS else [output.recon, output.masks]
    sum(x.square().sum() for x in outputs).backward()
    grads = [p.grad.clone() for p in module.parameters() if p.grad is not None]
    return [*(x.detach() for x in outputs), inputs.grad, *grads]


for name in sys.argv[1:]:
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    torch.manual_seed(0)
    module = {**HEADS, **DECODERS}[name]()
    compiled = torch.compile(module, backend='aot_eager', fullgraph=True)
    # The last batch of an epoch is smaller. Below 16 canvases PyTorch takes another convolution on
    # a CPU, and compiles anew.
    for batch_size in (8, 5, 9):
        torch._dynamo.config.error_on_recompile = batch_size != 8
        got, want = (results(name, module, m, batch_size) for m in (compiled, module))
        for ours, theirs in zip(got, want, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    assert torch._dynamo.utils.counters['stats']['unique_graphs'] == 1
    print(name, 'agrees')
"""


@pytest.mark.parametrize('names', [('sa', 'psa', 'smm'), ('mlp', 'broadcast', 'broadcast_full')])
def test_one_graph_without_breaks_serves_all_batch_sizes_and_agrees_with_eager(names) -> None:
    run = subprocess.run([sys.executable, '-c', SCRIPT, *names], capture_output=True, text=True)
    assert run.stdout.count('agrees') == len(names), run.stdout + run.stderr[-3000:]
