"""A small folder of shards, and how to make it."""

from pathlib import Path

import torch

from mmocl.datasets.shards import ShardPlan, ShardWriter

NAMES = [f'{i}.jpg' for i in range(5)]
PLAN = ShardPlan(
    'features', {'backbone': {'norm': True}}, NAMES, {'0.jpg': 9}, 2, {}, {'torch': '2'}
)
VALUES = torch.randn(5, 3, generator=torch.Generator().manual_seed(0)).bfloat16()


def tensors(shard: int) -> dict[str, torch.Tensor]:
    return {'tokens': VALUES[PLAN.rows(shard)], 'number': torch.tensor([*PLAN.rows(shard)])}


def fill(folder: Path, plan: ShardPlan = PLAN) -> list[int]:
    """Make what is missing; which shards that were."""
    writer = ShardWriter(folder, plan)
    pending = writer.pending()
    for shard in pending:
        writer.write(shard, tensors(shard))
    writer.finish()
    return pending


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}
