from __future__ import annotations

import fcntl
import json
import logging
import os
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from mmengine.logging import print_log
from torch import Tensor

from mmocl.datasets.shards.differences import differences
from mmocl.datasets.shards.shard_file import (
    encoded,
    record_path,
    recorded_digest,
    write_atomically,
    write_shard,
)
from mmocl.datasets.shards.shard_plan import ShardPlan
from mmocl.file_digest import file_digest

PLAN, MANIFEST = 'plan.json', 'manifest.json'
# What write_atomically leaves when it is killed.
_LEFT = re.compile(r'(shard-\d+\.(safetensors|json)|plan\.json|manifest\.json)\.\d+\.tmp')


class ShardWriter:
    """Fill a folder with shards; a run that was killed is taken up where it stopped.

    The folder holds ``plan.json`` until all shards are there, and then ``manifest.json``, the plan
    with the checksums of all shards. Its bytes depend on the plan and the tensors alone: not on
    interruptions, on who wrote which shard, or on the time. Nothing is deleted but what this class
    has written.

    Args:
        folder: The folder, which may exist.
        plan: What it will hold.

    Raises:
        OSError: If the folder cannot be written.
        ValueError: If the folder holds something else, or another run writes into it.
    """

    def __init__(self, folder: str | Path, plan: ShardPlan) -> None:
        self.folder = Path(folder)
        self.plan = plan
        if self.folder.exists() and not self.folder.is_dir():
            raise ValueError(f'{self.folder} is a file; expected a folder, or a new name')
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = _locked(self.folder)
        left = [path for path in self.folder.iterdir() if _LEFT.fullmatch(path.name)]
        self._require_own({path.name for path in self.folder.iterdir()} - {p.name for p in left})
        for path in left:
            path.unlink()

    def __del__(self) -> None:
        # Another run may write as soon as this object is gone.
        if hasattr(self, '_lock'):
            os.close(self._lock)

    def pending(self) -> list[int]:
        """Begin or resume; all that is there is read once.

        Returns:
            Numbers of the shards that are not there, or not whole.
        """
        with ThreadPoolExecutor() as pool:
            whole = list(pool.map(self._is_whole, range(self.plan.num_shards)))
        pending = [shard for shard, there in enumerate(whole) if not there]
        if pending:
            if _read(self.folder / PLAN) != self.plan.to_json():
                write_atomically(self.folder / PLAN, encoded(self.plan.to_json()))
            (self.folder / MANIFEST).unlink(missing_ok=True)
        for shard in pending:
            # From now on a record says that its shard was written whole.
            record_path(self.folder / self.plan.file_name(shard)).unlink(missing_ok=True)
        return pending

    def write(self, shard: int, tensors: Mapping[str, Tensor]) -> None:
        """Write one shard; other processes may call ``write_shard``."""
        write_shard(self.folder, self.plan, shard, tensors)

    def finish(self) -> None:
        """Write the manifest, after all that was pending.

        Raises:
            ValueError: If a shard is missing.
        """
        digests = {}
        for shard in range(self.plan.num_shards):
            try:
                digest = recorded_digest(self.folder, self.plan, shard)
            except ValueError as error:
                raise ValueError(f'{error}; run the tool again') from error
            digests[self.plan.file_name(shard)] = digest
        content = {**self.plan.to_json(), 'sha256': digests}
        if _read(self.folder / MANIFEST) != content:
            write_atomically(self.folder / MANIFEST, encoded(content))
        (self.folder / PLAN).unlink(missing_ok=True)

    def _is_whole(self, shard: int) -> bool:
        """Whether a shard's file is there, as it was written."""
        path = self.folder / self.plan.file_name(shard)
        if not path.is_file():
            return False
        try:
            if recorded_digest(self.folder, self.plan, shard) == file_digest(path):
                return True
            reason = f'{path} is damaged'
        except ValueError as error:
            reason = str(error)
        print_log(f'{reason}; it is made again', logger='current', level=logging.WARNING)
        return False

    def _require_own(self, names: set[str]) -> None:
        """Refuse a folder with these files unless it is new or of this plan."""
        shards = range(self.plan.num_shards)
        records = (_read(record_path(self.folder / self.plan.file_name(i))) for i in shards)
        if any(record and record.get('plan') == self.plan.digest for record in records):
            return  # whatever has become of the plan
        before, wanted = _begun(self.folder), self.plan.to_json()
        if before is None and names:
            raise ValueError(
                f'{self.folder} is not empty ({min(names)}, ...), but nothing in it says that it '
                'is this cache; expected a new folder, or one that this tool has begun'
            )
        if before is None or (names == {PLAN} and before.keys() == wanted.keys()):
            return  # as long as there is no shard, the settings may change
        found = differences(before, wanted)
        if found:
            raise ValueError(
                f'{self.folder} holds another cache: {"; ".join(found[:5])}. Give the same '
                'settings and images, another folder, or delete this one'
            )


def _begun(folder: Path) -> dict[str, Any] | None:
    """The plan that a folder was begun with."""
    found = _read(folder / MANIFEST)
    if found is None:
        return _read(folder / PLAN)
    return {name: value for name, value in found.items() if name != 'sha256'}


def _read(path: Path) -> dict[str, Any] | None:
    """A dict from a JSON file; None if there is no such file, or it is damaged."""
    try:
        content = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return content if isinstance(content, dict) else None


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
