"""Files of a shard: one of safetensors, and beside it its record, a JSON file with the digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import Tensor

from mmocl.datasets.shards.shard_plan import ShardPlan
from mmocl.write_atomically import write_atomically


def write_shard(folder: Path, plan: ShardPlan, shard: int, tensors: Mapping[str, Tensor]) -> None:
    """Write one shard of a plan, and then its record; any process may.

    Args:
        folder: Where.
        plan: What the folder will hold.
        shard: Number of the shard.
        tensors: Its content.
    """
    path, about = folder / plan.file_name(shard), plan.about(shard)
    # A single entry: to several the library gives no order, and so would write different bytes.
    metadata = {'mmocl': json.dumps(about, sort_keys=True)}
    data = save({k: t.detach().cpu().contiguous() for k, t in tensors.items()}, metadata)
    write_atomically(path, data)
    digest = hashlib.sha256(data).hexdigest()
    write_atomically(record_path(path), encoded({**about, 'bytes': len(data), 'sha256': digest}))


def recorded_digest(folder: Path, plan: ShardPlan, shard: int) -> str:
    """SHA-256 of a shard's file as it was written; the file is looked at, but not read.

    Raises:
        ValueError: If the file or its record is missing, damaged or of another cache.
    """
    path = folder / plan.file_name(shard)
    record = record_path(path)
    for file in (path, record):
        if not file.is_file():
            raise ValueError(f'{file} is missing')
    try:
        content = json.loads(record.read_bytes())
        wanted, digest = content.pop('bytes'), content.pop('sha256')
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f'{record} is damaged ({error})') from error
    if content != plan.about(shard):
        raise ValueError(f'{record} belongs to another cache')
    size = path.stat().st_size
    if size != wanted:
        raise ValueError(f'{path} has {size} bytes, expected {wanted}')
    return digest


def record_path(path: Path) -> Path:
    """Record of a shard's file."""
    return path.with_suffix('.json')


def encoded(content: dict[str, Any]) -> bytes:
    """Bytes of a JSON file."""
    return (json.dumps(content, indent=1, sort_keys=True) + '\n').encode()
