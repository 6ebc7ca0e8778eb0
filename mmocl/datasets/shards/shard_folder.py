from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.logging import print_log
from safetensors import SafetensorError, safe_open

from mmocl.datasets.shards.shard_file import recorded_digest
from mmocl.datasets.shards.shard_plan import FORMAT, ShardPlan
from mmocl.datasets.shards.shard_writer import MANIFEST
from mmocl.file_digest import file_digest

# Bytes that take a while to read.
_MUCH = 4e9
_TOOLS = {'features': 'tools/cache_features.py', 'images': 'tools/cache_images.py'}


class ShardFolder:
    """A finished folder of shards, mapped: it takes no memory, and processes share what is read.

    A shard is opened when one of its images is first wanted.

    Args:
        folder: The folder.
        kind: What it must hold: ``'features'`` or ``'images'``.
        verify: Whether to read all shards once and compare their SHA-256 with the recorded; in a
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
            found = content.get('format'), content.get('kind')
            if found == (FORMAT, kind):
                listed = content.pop('sha256')
                self.plan = ShardPlan(**content)
                self._rows = {name: row for row, name in enumerate(self.plan.names)}
                num_shards = self.plan.num_shards
        except (
            OSError,
            LookupError,
            ValueError,
            TypeError,
            AttributeError,
            ArithmeticError,
        ) as error:
            raise ValueError(f'{path} is damaged ({error}); {self._advice}') from error
        if found != (FORMAT, kind):
            raise ValueError(
                f'{self.folder} holds {found[1]} in format {found[0]}; expected {kind} in format '
                f'{FORMAT}: {self._advice}'
            )
        self._files: dict[int, Any] = {}
        # Records name the plan, so that a manifest that was changed is found too.
        self._digests = [self._recorded(shard) for shard in range(num_shards)]
        recorded = {self.plan.file_name(i): digest for i, digest in enumerate(self._digests)}
        if listed != recorded:
            raise ValueError(f'{path} is damaged (other checksums than the shards); {self._advice}')
        if verify and is_main_process():
            self._check_digests()

    def __getstate__(self) -> dict[str, Any]:
        # A spawned worker maps the files itself instead of receiving their contents.
        return {**self.__dict__, '_files': {}}

    @property
    def _advice(self) -> str:
        return f'run {_TOOLS[self.kind]} again'

    def require(self, images: Mapping[str, str]) -> None:
        """Raise a ``ValueError`` unless all images are there, and still those they were.

        Args:
            images: Their files by name; one that does not exist is not compared.
        """
        missing = [name for name in images if name not in self._rows]
        if missing:
            raise ValueError(
                f'{self.folder} lacks {len(missing)} images of the split (first: {missing[0]}); '
                'expected paths relative to the data root'
            )
        for name, path in images.items():
            cached = self.plan.sizes.get(name)
            try:
                size = os.stat(path).st_size
            except OSError:
                continue
            if cached not in (None, size):
                raise ValueError(
                    f'{self.folder} was made of another image {name}: it had {cached} bytes, but '
                    f'has {size} now; put it back, or {self._advice} with --out another folder'
                )

    def find(self, name: str) -> tuple[Any, int]:
        """The shard of an image, an open file of safetensors, and its row there.

        Raises:
            ValueError: If the file cannot be read, which ``verify`` would have found.
        """
        shard, row = divmod(self._rows[name], self.plan.shard_size)
        file = self._files.get(shard)
        if file is None:
            file = self._files[shard] = self._open(shard)
        return file, row

    def _open(self, shard: int) -> Any:
        path = self.folder / self.plan.file_name(shard)
        try:
            file = safe_open(path, 'pt')
            about = json.loads(file.metadata()['mmocl'])
        except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
            raise ValueError(f'{path} cannot be read ({error}); {self._advice}') from error
        if about != self.plan.about(shard):
            raise ValueError(f'{path} belongs to another cache; {self._advice}')
        return file

    def _recorded(self, shard: int) -> str:
        """Digest of a shard, which is there and as long as it was."""
        try:
            return recorded_digest(self.folder, self.plan, shard)
        except ValueError as error:
            raise ValueError(f'{error}; {self._advice}, which makes it anew') from error

    def _check_digests(self) -> None:
        """Every byte is as it was written."""
        start = time.perf_counter()
        paths = [self.folder / self.plan.file_name(shard) for shard in range(self.plan.num_shards)]
        size = sum(path.stat().st_size for path in paths)
        if size > _MUCH:
            print_log(
                f'{self.folder}: checking {size / 1e9:.1f} GB, verify=False skips this',
                logger='current',
            )
        with ThreadPoolExecutor() as pool:
            digests = list(pool.map(file_digest, paths))
        for path, digest, wanted in zip(paths, digests, self._digests, strict=True):
            if digest != wanted:
                raise ValueError(
                    f'{path} is damaged: its bytes differ from what was written; {self._advice}, '
                    'which makes it anew'
                )
        seconds = time.perf_counter() - start
        print_log(
            f'{self.folder}: {size / 1e9:.2f} GB checked in {seconds:.1f} s (verify=False skips '
            'this)',
            logger='current',
        )
