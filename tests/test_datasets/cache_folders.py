"""Caches without a backbone, for tests of what reads them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from mmocl.datasets.cache_views import view_steps
from mmocl.datasets.feature_cache import TOKENS_VERSION
from mmocl.datasets.shards import ShardPlan, ShardWriter


def write_features(
    folder: Path,
    names: Sequence[str],
    pipeline: Sequence[dict],
    file_shapes: Sequence[tuple[int, int]],
    views: Sequence[str] = ('center',),
    sizes: Mapping[str, int] | None = None,
    made_with: dict[str, str] | None = None,
    **key: object,
) -> torch.Tensor:
    """Write a feature cache of random tokens, and return them (images, views, 4, 5)."""
    tokens = torch.randn(len(names), len(views), 4, 5).bfloat16()
    about = {
        'views': [{'name': view, 'steps': view_steps(pipeline, view)} for view in views],
        'version': TOKENS_VERSION,
        **key,
    }
    layout = {'grid': [2, 2], 'channels': 5}
    plan = ShardPlan('features', about, list(names), dict(sizes or {}), 2, layout, made_with or {})
    writer = ShardWriter(folder, plan)
    for shard in writer.pending():
        rows = plan.rows(shard)
        shapes = torch.tensor([file_shapes[i] for i in rows], dtype=torch.int32)
        writer.write(shard, {'tokens': tokens[rows], 'file_shape': shapes})
    writer.finish()
    return tokens
