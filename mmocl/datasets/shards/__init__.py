"""Folders of memory-mapped safetensors files that a tool writes once and training reads."""

from mmocl.datasets.shards.differences import differences
from mmocl.datasets.shards.shard_file import write_shard
from mmocl.datasets.shards.shard_folder import ShardFolder
from mmocl.datasets.shards.shard_plan import ShardPlan
from mmocl.datasets.shards.shard_writer import ShardWriter
from mmocl.write_atomically import write_atomically

__all__ = [
    'ShardFolder',
    'ShardPlan',
    'ShardWriter',
    'differences',
    'write_atomically',
    'write_shard',
]
