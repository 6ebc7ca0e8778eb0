"""Caches without a backbone, for tests of what reads them."""

from collections.abc import Sequence
from pathlib import Path

import torch

from mmocl.datasets.cache_views import view_steps
from mmocl.datasets.shards import ShardPlan, ShardWriter
from mmocl.version import __version__


def write_features(
    folder: Path,
    names: Sequence[str],
    pipeline: Sequence[dict],
    file_shapes: Sequence[tuple[int, int]],
    views: Sequence[str] = ('center',),
    **key: object,
) -> torch.Tensor:
    """Write a feature cache of random tokens, and return them (images, views, 4, 5)."""
    tokens = torch.randn(len(names), len(views), 4, 5).bfloat16()
    about = {
        'views': [{'name': view, 'steps': view_steps(pipeline, view)} for view in views],
        'mmocl': __version__,
        **key,
    }
    layout = {'grid': [2, 2], 'channels': 5}
    plan = ShardPlan('features', about, list(names), 2, layout, {})
    writer = ShardWriter(folder, plan)
    for shard in writer.pending():
        rows = plan.rows(shard)
        shapes = torch.tensor([file_shapes[i] for i in rows], dtype=torch.int32)
        writer.write(shard, {'tokens': tokens[rows], 'file_shape': shapes})
    writer.finish()
    return tokens
