from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

FORMAT = 1


@dataclass(frozen=True)
class ShardPlan:
    """What a folder of shards holds, which is all that its bytes depend on.

    Args:
        kind: ``'features'`` or ``'images'``.
        key: What the content was made of and how; a reader compares it with what it wants.
        names: Names of the images, in the order of the rows.
        sizes: Bytes of the image files by name; an image that was replaced mostly has others.
        shard_size: Images a shard.
        layout: Sizes that a reader needs.
        made_with: Settings of the run and versions of libraries that may change the last bits.
        format: Version of the format of such folders.
    """

    kind: str
    key: dict[str, Any]
    names: list[str]
    sizes: dict[str, int]
    shard_size: int
    layout: dict[str, Any]
    made_with: dict[str, Any]
    format: int = FORMAT

    @property
    def num_shards(self) -> int:
        """How many files there are."""
        return -(-len(self.names) // self.shard_size)

    def rows(self, shard: int) -> range:
        """Numbers of the images of a shard."""
        first = shard * self.shard_size
        return range(first, min(first + self.shard_size, len(self.names)))

    def file_name(self, shard: int) -> str:
        """Name of the file of a shard."""
        return f'shard-{shard:05d}.safetensors'

    def about(self, shard: int) -> dict[str, Any]:
        """What a shard is, as its files say."""
        return {'plan': self.digest, 'shard': shard}

    def to_json(self) -> dict[str, Any]:
        """The plan as it comes back from a JSON file."""
        return json.loads(json.dumps(asdict(self)))

    @cached_property
    def digest(self) -> str:
        """Short name of the plan."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()
