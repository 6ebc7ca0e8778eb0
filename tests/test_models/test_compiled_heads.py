import subprocess
import sys

# Dynamo cannot trace the checks of shapes that pytest installs here, hence another process.
SCRIPT = """
import torch
from mmocl.models.slot_heads import ProbabilisticSlotAttention, SlotAttention, SlotMixture
from mmocl.structures import Features

features = Features(torch.randn(2, 36, 12), (6, 6))
for cls in (SlotAttention, ProbabilisticSlotAttention, SlotMixture):
    head = cls({'type': 'mmocl.LearnedSlots', 'num_slots': 4}, 12, 16, embed_channels=24)
    compiled = torch.compile(head, backend='aot_eager', fullgraph=True)
    results = []
    for module in (head, compiled):
        head.zero_grad()
        slots = module(features).slots
        slots.square().sum().backward()
        results.append([slots.detach(), *(p.grad.clone() for p in head.parameters())])
    for eager, other in zip(*results, strict=True):
        torch.testing.assert_close(other, eager, rtol=1e-4, atol=1e-4)
    print(cls.__name__, 'agrees')
"""


def test_compiled_heads_have_no_graph_break_and_agree_with_eager_ones() -> None:
    run = subprocess.run([sys.executable, '-c', SCRIPT], capture_output=True, text=True)
    assert run.stdout.count('agrees') == 3, run.stderr[-3000:]
