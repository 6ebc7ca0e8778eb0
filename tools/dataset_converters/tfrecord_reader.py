"""Read TensorFlow's record files of ``tf.train.Example`` messages, without TensorFlow.

Formats: https://www.tensorflow.org/tutorials/load_data/tfrecord (framing) and
https://protobuf.dev/programming-guides/encoding (messages). Checksums are not read: gzip has one.
"""

from __future__ import annotations

import gzip
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

# No message is longer than 2 GiB.
MAX_LENGTH = 2**31
# Wire type of the fields that begin with their length.
LENGTH = 2
# A list of single bytes, as multi_object_datasets stores pixels: field 1, length 1, the byte.
BYTE_TAG = b'\x0a\x01'


def read_examples(path: str | Path) -> Iterator[dict[str, memoryview]]:
    """Go through the examples of a file, one at a time.

    Args:
        path: A TFRecord file, compressed by gzip or not.

    Yields:
        The encoded list of every feature, by name; see ``byte_values``.

    Raises:
        ValueError: If the file is cut short, or an example is no such message.
    """
    with open(path, 'rb') as file:
        compressed = file.read(2) == b'\x1f\x8b'
    with gzip.open(path) if compressed else open(path, 'rb') as file:
        number = 0
        while header := _read(file, 12, path, may_end=True):
            (length,) = struct.unpack('<Q', header[:8])
            if length > MAX_LENGTH:
                raise ValueError(f'{path} is no TFRecord file')
            data = memoryview(_read(file, length + 4, path))
            try:
                yield _example(data[:length])
            except (IndexError, KeyError, ValueError) as error:
                raise ValueError(f'record {number} of {path} is no tf.train.Example') from error
            number += 1


def byte_values(values: memoryview) -> np.ndarray:
    """Bytes of a feature that holds a list of single bytes.

    Args:
        values: The encoded list.

    Returns:
        A flat uint8 array.

    Raises:
        ValueError: If an entry is not one byte.
    """
    data = np.frombuffer(values, np.uint8)
    if data.size % 3 or (data.reshape(-1, 3)[:, :2] != np.frombuffer(BYTE_TAG, np.uint8)).any():
        raise ValueError('expected a feature that is a list of single bytes')
    return data[2::3]


def _example(data: memoryview) -> dict[str, memoryview]:
    """Features of ``Example { Features features = 1 { map<string, Feature> feature = 1 } }``."""
    features = {}
    for _, message in _fields(data):
        for _, entry in _fields(message):
            pair = dict(_fields(entry))
            # A feature is one of three lists: of bytes, floats or integers.
            ((_, values),) = _fields(pair[2])
            features[bytes(pair[1]).decode()] = values
    return features


def _fields(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Numbers and contents of the fields of a message, of which all here have a length."""
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        if tag & 7 != LENGTH:
            raise ValueError(f'wire type {tag & 7}')
        length, position = _varint(data, position)
        if position + length > len(data):
            raise ValueError('cut short')
        yield tag >> 3, data[position : position + length]
        position += length


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    """An integer in groups of seven bits, lowest first, and the position after it."""
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7


def _read(file: BinaryIO, length: int, path: str | Path, may_end: bool = False) -> bytes:
    """So many bytes, or none if the file may end here."""
    try:
        data = file.read(length)
    except EOFError as error:
        raise ValueError(f'{path} is cut short') from error
    if len(data) != length and not (may_end and not data):
        raise ValueError(f'{path} is cut short')
    return data
