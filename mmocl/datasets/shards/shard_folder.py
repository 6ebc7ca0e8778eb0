from __future__ import annotations

import json
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.logging import print_log

from mmocl.datasets.shards.shard_file import ShardFile, file_digest
from mmocl.datasets.shards.shard_plan import FORMAT, ShardPlan
from mmocl.datasets.shards.shard_writer import MANIFEST

_TOOLS = {'features': 'tools/cache_features.py', 'images': 'tools/cache_images.py'}


class ShardFolder:
    """A finished folder of shards, mapped: it takes no memory, and processes share what is read.

    Args:
        folder: The folder.
        kind: What it must hold: ``'features'`` or ``'images'``.
        verify: Whether to read all shards once and compare their SHA-256 with the manifest's; in a
            distributed run the main process does. Sizes are compared anyway.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If it is not finished, damaged or of another kind; the file is named.
    """

    def __init__(self, folder: str | Path, kind: str, verify: bool = True) -> None:
        self.folder = Path(folder)
        self.kind = kind
        if not self.folder.is_dir():
            raise FileNotFoundError(
                f'no folder with cached {kind} at {self.folder.absolute()}; {self._advice}'
            )
        path = self.folder / MANIFEST
        if not path.is_file():
            raise ValueError(
                f'{self.folder} is no finished cache, it has no {MANIFEST}; {self._advice}, which '
                'takes up what was begun'
            )
        try:
            content: dict[str, Any] = json.loads(path.read_bytes())
            self._shards: list[dict[str, Any]] = content.pop('shards')
            found = content.get('format'), content.get('kind')
            if found == (FORMAT, kind):
                self.plan = ShardPlan(**content)
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f'{path} is damaged ({error}); {self._advice}') from error
        if found != (FORMAT, kind):
            raise ValueError(
                f'{self.folder} holds {found[1]} in format {found[0]}; expected {kind} in format '
                f'{FORMAT}: {self._advice}'
            )
        self._rows = {name: row for row, name in enumerate(self.plan.names)}
        self._files: dict[int, ShardFile] = {}
        self._check_sizes()
        if verify and is_main_process():
            self._check_digests()

    def __getstate__(self) -> dict[str, Any]:
        # A spawned worker maps the files itself instead of receiving their contents.
        return {**self.__dict__, '_files': {}}

    @property
    def _advice(self) -> str:
        return f'run {_TOOLS[self.kind]} again'

    def require(self, names: Iterable[str]) -> None:
        """Raise a ``ValueError`` unless all images are there."""
        missing = [name for name in names if name not in self._rows]
        if missing:
            raise ValueError(
                f'{self.folder} lacks {len(missing)} images of the split (first: {missing[0]}); '
                'expected paths relative to the data root'
            )

    def find(self, name: str) -> tuple[ShardFile, int]:
        """The shard of an image, and its row there."""
        shard, row = divmod(self._rows[name], self.plan.shard_size)
        file = self._files.get(shard)
        if file is None:
            file = self._files[shard] = self._open(shard)
        return file, row

    def _open(self, shard: int) -> ShardFile:
        path = self.folder / self.plan.file_name(shard)
        try:
            file = ShardFile(path)
        except (OSError, ValueError) as error:
            raise ValueError(f'{path} cannot be read ({error}); {self._advice}') from error
        if (file.metadata.get('plan'), file.metadata.get('shard')) != (
            self.plan.digest,
            str(shard),
        ):
            raise ValueError(f'{path} belongs to another cache; {self._advice}')
        return file

    def _check_sizes(self) -> None:
        """Every file is there, as long as it was, and of this cache."""
        names = [self.plan.file_name(shard) for shard in range(self.plan.num_shards)]
        if [shard['file'] for shard in self._shards] != names:
            raise ValueError(f'{self.folder / MANIFEST} is damaged; {self._advice}')
        for number, shard in enumerate(self._shards):
            path = self.folder / shard['file']
            if not path.is_file():
                raise ValueError(f'{path} is missing; {self._advice}, which makes what is missing')
            size = path.stat().st_size
            if size != shard['bytes']:
                raise ValueError(
                    f'{path} has {size} bytes, expected {shard["bytes"]}; {self._advice}, which '
                    'makes it anew'
                )
            self._files[number] = self._open(number)

    def _check_digests(self) -> None:
        """Every byte is as it was written."""
        start = time.perf_counter()
        paths = [self.folder / shard['file'] for shard in self._shards]
        with ThreadPoolExecutor() as pool:
            digests = list(pool.map(file_digest, paths))
        for path, digest, shard in zip(paths, digests, self._shards, strict=True):
            if digest != shard['sha256']:
                raise ValueError(
                    f'{path} is damaged: its bytes differ from what was written; {self._advice}, '
                    'which makes it anew'
                )
        size = sum(shard['bytes'] for shard in self._shards) / 1e9
        seconds = time.perf_counter() - start
        print_log(
            f'{self.folder}: {size:.2f} GB checked in {seconds:.1f} s (verify=False skips this)',
            logger='current',
        )
