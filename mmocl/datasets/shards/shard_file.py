"""Files of safetensors' format, whose bytes depend on nothing but their content.

The format is https://github.com/huggingface/safetensors#format. Its own library gives no order to
the metadata of a file, so that two runs would write different bytes.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

_NAMES = {
    torch.bfloat16: 'BF16',
    torch.int32: 'I32',
    torch.int64: 'I64',
    torch.uint8: 'U8',
}
_DTYPES = {name: dtype for dtype, name in _NAMES.items()}
# Longer ones are no headers of ours.
_MOST_HEADER_BYTES = 1 << 20
_CHUNK = 1 << 22


class ShardFile:
    """One mapped file: rows of its tensors are read when they are asked for.

    Args:
        path: The file.

    Raises:
        ValueError: If it is none of :func:`write_shard`, or cut off.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.metadata, self._tensors, self._start = _read_header(path)
        # A plain array: slices of a memmap are several times slower.
        self._bytes = np.asarray(np.memmap(path, np.uint8, 'r'))

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor."""
        return tuple(self._tensors[name]['shape'])

    def row(self, name: str, *index: int) -> Tensor:
        """A copy of the part of a tensor at an index of its first dimensions."""
        dtype, shape, values = self._part(name, index)
        return torch.from_numpy(values.copy()).view(dtype).view(shape)

    def span(self, name: str, start: int, stop: int) -> np.ndarray:
        """Bytes ``start`` to ``stop`` of a tensor of bytes, mapped and not copied."""
        first = self._start + self._tensors[name]['data_offsets'][0]
        return self._bytes[first + start : first + stop]

    def _part(self, name: str, index: tuple[int, ...]) -> tuple[torch.dtype, list[int], np.ndarray]:
        entry = self._tensors[name]
        dtype, shape = _DTYPES[entry['dtype']], entry['shape']
        rest = shape[len(index) :]
        size = math.prod(rest) * dtype.itemsize
        row = 0
        for position, length in zip(index, shape, strict=False):
            assert 0 <= position < length
            row = row * length + position
        first = self._start + entry['data_offsets'][0] + row * size
        return dtype, rest, self._bytes[first : first + size]


def write_shard(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors to a file that is either whole or not there.

    Args:
        path: The file.
        tensors: Tensors by name, of the types bfloat16, int32, int64 or uint8.
        metadata: Facts to keep with them; ``sha256`` of the tensors' bytes is added.
    """
    parts = [t.detach().cpu().contiguous().view(-1).view(torch.uint8) for t in tensors.values()]
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.numpy().data)
    header: dict[str, Any] = {'__metadata__': {**metadata, 'sha256': digest.hexdigest()}}
    start = 0
    for (name, tensor), part in zip(tensors.items(), parts, strict=True):
        offsets = [start, start + len(part)]
        header[name] = {
            'dtype': _NAMES[tensor.dtype],
            'shape': list(tensor.shape),
            'data_offsets': offsets,
        }
        start = offsets[1]
    text = json.dumps(header, separators=(',', ':')).encode()
    text += b' ' * (-len(text) % 8)
    write_atomically(path, len(text).to_bytes(8, 'little'), text, *(p.numpy() for p in parts))


def write_atomically(path: Path, *parts: Any) -> None:
    """Write bytes under a temporary name, wait until they are on the disk, and rename."""
    temporary = path.with_name(f'{path.name}.{os.getpid()}.tmp')
    with open(temporary, 'wb') as file:
        for part in parts:
            file.write(part)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the new name
    finally:
        os.close(folder)


def checked_digest(path: Path) -> tuple[dict[str, str], str]:
    """Read all of a file.

    Returns:
        Its metadata, and the SHA-256 of the file.

    Raises:
        ValueError: If the tensors are not what was written.
    """
    metadata, _, start = _read_header(path)
    whole, data = hashlib.sha256(), hashlib.sha256()
    with open(path, 'rb') as file:
        whole.update(file.read(start))
        while chunk := file.read(_CHUNK):
            whole.update(chunk)
            data.update(chunk)
    if data.hexdigest() != metadata.get('sha256'):
        raise ValueError(f'{path.name}: its bytes differ from what was written')
    return metadata, whole.hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file."""
    with open(path, 'rb') as file:
        return hashlib.file_digest(file, 'sha256').hexdigest()


def _read_header(path: Path) -> tuple[dict[str, str], dict[str, Any], int]:
    """Metadata, the place of every tensor, and where the first one starts."""
    size = path.stat().st_size
    with open(path, 'rb') as file:
        length = int.from_bytes(file.read(8), 'little')
        text = file.read(length) if length <= _MOST_HEADER_BYTES else b''
    try:
        header = json.loads(text)
        metadata = header.pop('__metadata__')
        stop = max(entry['data_offsets'][1] for entry in header.values())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f'{path.name}: no safetensors header of a shard') from error
    if size != 8 + length + stop:
        raise ValueError(f'{path.name}: {size} bytes, but its header wants {8 + length + stop}')
    return metadata, header, 8 + length
