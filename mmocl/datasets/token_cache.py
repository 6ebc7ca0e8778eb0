from __future__ import annotations

import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor


class TokenCache:
    """Tokens of a frozen backbone, written by ``tools/cache_features.py``.

    The .npz holds ``tokens`` float16 (M, N, C), ``grid`` (h, w) with h*w = N, and ``names`` (M,),
    the images' paths relative to the data root. Saved uncompressed (``np.savez``) the tokens stay
    on disk and are mapped, so a cache larger than the memory works and workers share it.

    Args:
        path: The .npz file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If its arrays are not as above.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise FileNotFoundError(f'token_cache: no file at {self.path}')
        try:
            with np.load(self.path) as arrays:
                missing = {'tokens', 'grid', 'names'} - set(arrays.files)
                if missing:
                    raise ValueError(
                        f'expected arrays tokens, grid and names, without {sorted(missing)}'
                    )
                names = arrays['names'].tolist()
                grid = arrays['grid'].tolist()
            self._tokens = _map_array(self.path, 'tokens')
        except (ValueError, zipfile.BadZipFile) as error:
            raise ValueError(f'token_cache {self.path} is no token cache: {error}') from error
        shape = self._tokens.shape
        if len(shape) != 3 or len(grid) != 2 or shape[:2] != (len(names), grid[0] * grid[1]):
            raise ValueError(
                f'token_cache {self.path}: tokens {shape} do not fit {len(names)} names and grid '
                f'{grid}; expected (names, h*w, channels)'
            )
        self.grid = (grid[0], grid[1])
        self._rows = {name: row for row, name in enumerate(names)}

    def __reduce__(self) -> tuple:
        # A spawned worker maps the file again instead of receiving its contents.
        return TokenCache, (self.path,)

    def check(self, names: Iterable[str]) -> None:
        """Raise a ``ValueError`` unless all images are in the cache."""
        missing = [name for name in names if name not in self._rows]
        if missing:
            raise ValueError(
                f'token_cache {self.path} lacks {len(missing)} images of the split (first: '
                f'{missing[0]}); expected paths relative to the data root'
            )

    def __getitem__(self, name: str) -> Float[Tensor, 'N C']:
        return torch.from_numpy(self._tokens[self._rows[name]].astype(np.float32))


def _map_array(path: Path, name: str) -> np.ndarray:
    """Map one array of an .npz; one that is compressed is loaded instead."""
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo(f'{name}.npy')
        with archive.open(info) as member:
            version = np.lib.format.read_magic(member)
            if version == (1, 0):
                header = np.lib.format.read_array_header_1_0(member)
            else:
                header = np.lib.format.read_array_header_2_0(member)
            start = member.tell()
    shape, fortran, dtype = header
    if info.compress_type != zipfile.ZIP_STORED or fortran:
        with np.load(path) as arrays:
            return arrays[name]
    with open(path, 'rb') as file:
        # The local header repeats name and extra field, with lengths of its own.
        file.seek(info.header_offset + 26)
        lengths = np.frombuffer(file.read(4), '<u2')
    offset = info.header_offset + 30 + int(lengths.sum()) + start
    return np.memmap(path, dtype, 'r', offset, shape)
