from __future__ import annotations

import fcntl
import json
import logging
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from mmengine.logging import print_log
from torch import Tensor

from mmocl.datasets.shards.differences import differences
from mmocl.datasets.shards.shard_file import checked_digest, write_atomically, write_shard
from mmocl.datasets.shards.shard_plan import ShardPlan

PLAN, MANIFEST = 'plan.json', 'manifest.json'


class ShardWriter:
    """Fill a folder with shards; a run that was killed is taken up where it stopped.

    The folder holds ``plan.json`` until all shards are there, and then ``manifest.json``. Its bytes
    depend on the plan and the tensors alone: not on interruptions, on who wrote which shard, or on
    the time.

    Args:
        folder: The folder, which may exist.
        plan: What it will hold.

    Raises:
        ValueError: If the folder holds something else, or another run writes into it.
    """

    def __init__(self, folder: str | Path, plan: ShardPlan) -> None:
        self.folder = Path(folder)
        self.plan = plan
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = _locked(self.folder)
        for left in self.folder.glob('*.tmp'):
            left.unlink()
        before = _content(self.folder)
        if before is None and (there := sorted(p.name for p in self.folder.iterdir())):
            raise ValueError(
                f'{self.folder} is no cache, but not empty either ({there[0]}, ...); expected a '
                'new folder, or one that this tool has begun'
            )
        found = [] if before is None else differences(before, plan.to_json())
        if found:
            raise ValueError(
                f'{self.folder} holds another cache: {"; ".join(found[:5])}. Give the same '
                'settings, another folder, or delete this one'
            )

    def __del__(self) -> None:
        # Another run may write as soon as this object is gone.
        if hasattr(self, '_lock'):
            os.close(self._lock)

    def pending(self) -> list[int]:
        """Begin or resume.

        Returns:
            Numbers of the shards that are not there, or not whole.
        """
        plan_path, manifest = self.folder / PLAN, self.folder / MANIFEST
        with ThreadPoolExecutor() as pool:
            digests = list(pool.map(self._digest, range(self.plan.num_shards)))
        pending = [shard for shard, digest in enumerate(digests) if digest is None]
        if pending and not plan_path.is_file():
            write_atomically(plan_path, _encoded(self.plan.to_json()))
        if pending:
            manifest.unlink(missing_ok=True)
        return pending

    def write(self, shard: int, tensors: Mapping[str, Tensor]) -> None:
        """Write one shard; any process may."""
        write_plan_shard(self.folder, self.plan, shard, tensors)

    def finish(self) -> None:
        """Check all shards and write the manifest.

        Raises:
            ValueError: If a shard is missing or not whole.
        """
        with ThreadPoolExecutor() as pool:
            digests = list(pool.map(self._digest, range(self.plan.num_shards)))
        shards = []
        for shard, digest in enumerate(digests):
            name = self.plan.file_name(shard)
            if digest is None:
                raise ValueError(f'{self.folder / name} is missing or damaged; run the tool again')
            shards.append(
                {
                    'file': name,
                    'num_images': len(self.plan.rows(shard)),
                    'bytes': (self.folder / name).stat().st_size,
                    'sha256': digest,
                }
            )
        content = _encoded({**self.plan.to_json(), 'shards': shards})
        manifest = self.folder / MANIFEST
        if not manifest.is_file() or manifest.read_bytes() != content:
            write_atomically(manifest, content)
        (self.folder / PLAN).unlink(missing_ok=True)

    def _digest(self, shard: int) -> str | None:
        """SHA-256 of a shard's file; None if it is not there, not whole or of something else."""
        path = self.folder / self.plan.file_name(shard)
        if not path.is_file():
            return None
        try:
            metadata, digest = checked_digest(path)
        except ValueError as error:
            print_log(f'{error}; it is made again', logger='current', level=logging.WARNING)
            return None
        own = metadata.get('plan') == self.plan.digest and metadata.get('shard') == str(shard)
        return digest if own else None


def write_plan_shard(
    folder: Path, plan: ShardPlan, shard: int, tensors: Mapping[str, Tensor]
) -> None:
    """Write one shard of a plan."""
    metadata = {'plan': plan.digest, 'shard': str(shard)}
    write_shard(folder / plan.file_name(shard), tensors, metadata)


def _encoded(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, indent=1, sort_keys=True) + '\n').encode()


def _content(folder: Path) -> dict[str, Any] | None:
    """The plan that a folder was begun with."""
    for name in (MANIFEST, PLAN):
        if (folder / name).is_file():
            try:
                content = json.loads((folder / name).read_bytes())
            except ValueError as error:
                raise ValueError(
                    f'{folder / name} is no JSON ({error}); delete the folder'
                ) from error
            content.pop('shards', None)
            return content
    return None


def _locked(folder: Path) -> int:
    """Keep others from writing into a folder as long as this process lives."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise ValueError(f'another process is writing into {folder}; wait, or end it') from None
    except OSError:
        pass  # some network drives have no locks
    return handle
