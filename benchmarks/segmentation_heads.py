"""Time and peak memory of SlotSemanticHead against mmsegmentation's FCNHead, on the same maps.

python benchmarks/segmentation_heads.py [--batch-size 8] [--repeats 5] [--out seg_heads.json]

The heads are those of projects/mmseg_slot_head; a ViT-S/14 at 224x224 gives maps of 384x16x16.
"""

import argparse
import json
import statistics
from collections.abc import Callable
from pathlib import Path

import torch
from density import peak_bytes, seconds
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import Tensor, nn

CONFIGS = Path(__file__).resolve().parents[1] / 'projects/mmseg_slot_head/configs'
FILES = {'slots': 'slot_semantic_voc.py', 'fcn': 'fcn_voc.py'}
CHANNELS, GRID, SIDE, NUM_CLASSES = 384, 16, 224, 21
METAS = {'img_shape': (SIDE, SIDE), 'ori_shape': (SIDE, SIDE)}


def passes(head: nn.Module, maps: Tensor, samples: list) -> dict[str, Callable[[], object]]:
    """A prediction, and a training step without its optimiser."""

    def predict() -> Tensor:
        head.eval()
        with torch.no_grad():
            return head.predict((maps,), [METAS] * len(maps), {'mode': 'whole'})

    def train() -> None:
        head.train()
        losses = head.loss((maps,), samples, {})
        sum(value for name, value in losses.items() if 'loss' in name).backward()
        head.zero_grad()

    return {'predict': predict, 'loss + backward': train}


def main() -> None:
    """Measure both passes, print a table, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--batch-size', type=int, default=8)
    parser.add_argument('--repeats', type=int, default=5)
    parser.add_argument('--out', type=Path)
    args = parser.parse_args()
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    init_default_scope('mmseg')
    torch.manual_seed(0)
    maps = torch.randn(args.batch_size, CHANNELS, GRID, GRID, device=device)
    samples = []
    for _ in range(args.batch_size):
        labels = torch.randint(NUM_CLASSES, (1, SIDE, SIDE), device=device)
        samples.append(SegDataSample(metainfo=METAS, gt_sem_seg=PixelData(data=labels)))
    calls, parameters = {}, {}
    for name, file in FILES.items():
        head = MODELS.build(Config.fromfile(CONFIGS / file).model.decode_head).to(device)
        parameters[name] = sum(p.numel() for p in head.parameters())
        calls[name] = passes(head, maps, samples)
    print(f'Parameters: {parameters}')
    print('| pass | slots ms | FCN ms | ratio (range) | slots MB | FCN MB | ratio |')
    print('|---|---|---|---|---|---|---|')
    rows = []
    for kind in calls['slots']:
        times: dict[str, list[float]] = {name: [] for name in FILES}
        for repeat in range(args.repeats + 1):
            for name in FILES:
                value = seconds(calls[name][kind], device)
                if repeat:  # The first one warms up.
                    times[name].append(value)
        ms = {name: 1000 * statistics.median(values) for name, values in times.items()}
        mb = {name: peak_bytes(calls[name][kind], device) / 2**20 for name in FILES}
        ratios = [b / a for a, b in zip(times['slots'], times['fcn'], strict=True)]
        rows.append({'pass': kind, 'ms': ms, 'ratios': ratios, 'mb': mb})
        print(
            f'| {kind} | {ms["slots"]:.0f} | {ms["fcn"]:.0f} | {statistics.median(ratios):.2f} '
            f'({min(ratios):.2f} to {max(ratios):.2f}) | {mb["slots"]:.0f} | {mb["fcn"]:.0f} | '
            f'{mb["fcn"] / mb["slots"]:.2f} |',
            flush=True,
        )
    if args.out:
        setup = {'torch': torch.__version__, 'device': device, 'threads': torch.get_num_threads()}
        result = {**setup, 'parameters': parameters, 'rows': rows}
        args.out.write_text(json.dumps(result, indent=2) + '\n')


if __name__ == '__main__':
    main()
