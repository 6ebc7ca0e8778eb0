"""The converter of records, on records that are written byte by byte."""

import gzip
import importlib
import json
import re
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmocl.datasets import ClevrMasks, ObjectsRoom

CONVERTERS = Path(__file__).resolve().parents[1] / 'tools' / 'dataset_converters'
TEST = [{'type': 'LoadImage'}, {'type': 'LoadObjectMasks'}, {'type': 'PackSlotInputs'}]


def varint(value: int) -> bytes:
    out = b''
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def record(**features: np.ndarray) -> bytes:
    """An example whose uint8 arrays are lists of single bytes, and others packed floats."""
    entries = b''
    for name, values in features.items():
        if values.dtype == np.uint8:
            single = np.full((values.size, 3), (10, 1, 0), np.uint8)  # field 1, length 1, the byte
            single[:, 2] = values.ravel()
            content = field(1, single.tobytes())
        else:
            content = field(2, field(1, values.astype('<f4').tobytes()))
        entries += field(1, field(1, name.encode()) + field(2, content))
    message = field(1, entries)
    return struct.pack('<QI', len(message), 0) + message + b'\0\0\0\0'


def scene(
    seed: int, height: int, width: int, num_entities: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """An image, one-hot masks of 0 and 255, and the entity of every pixel."""
    rng = np.random.default_rng(seed)
    entity = rng.integers(0, num_entities, (height // 8, width // 8)).repeat(8, 0).repeat(8, 1)
    mask = np.arange(11 if num_entities > 7 else 7)[:, None, None] == entity
    image = rng.integers(0, 256, (height, width, 3), np.uint8)
    return image, mask.astype(np.uint8) * 255, entity


@pytest.fixture
def convert(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    monkeypatch.syspath_prepend(CONVERTERS)

    def run(*arguments: str | Path) -> None:
        module = importlib.import_module('multi_object_tfrecords')
        monkeypatch.setattr('sys.argv', ['convert', *map(str, arguments)])
        module.main()

    return run


def test_as_a_command() -> None:
    command = [sys.executable, str(CONVERTERS / 'multi_object_tfrecords.py'), '--help']
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert '{clevr_with_masks,objects_room}' in result.stdout


def test_objects_room(tmp_path: Path, convert) -> None:
    scenes = [scene(seed, 64, 64, 7) for seed in range(5)]
    path = tmp_path / 'room.tfrecords'
    path.write_bytes(
        gzip.compress(b''.join(record(image=i, mask=m[..., None]) for i, m, _ in scenes))
    )
    convert('objects_room', path, tmp_path / 'out', '--num-test', '1', '--num-val', '2')
    numbers = {'test': [0], 'val': [1, 2], 'train': [3, 4]}
    for split, members in numbers.items():
        dataset = ObjectsRoom(tmp_path / 'out', split, TEST, test_mode=True)
        assert len(dataset) == len(members)
        for item, number in zip(dataset, members, strict=True):
            image, _, entity = scenes[number]
            sample = item['data_samples']
            assert sample.img_id == f'img_{number:06d}'
            np.testing.assert_array_equal(item['inputs'].permute(1, 2, 0), image)
            assert sample.gt_objects.labels.tolist() == [5, 6, 7]
            for mask, label in zip(sample.gt_objects.masks, (5, 6, 7), strict=True):
                np.testing.assert_array_equal(mask, entity == label - 1)


def test_clevr_counts_its_objects(tmp_path: Path, convert) -> None:
    path = tmp_path / 'clevr.tfrecords'
    data = b''
    for num_entities in (3, 9):
        _, mask, _ = scene(num_entities, 240, 320, num_entities)
        mask = np.concatenate([mask, np.zeros((11 - len(mask), 240, 320), np.uint8)])
        image = np.full((240, 320, 3), num_entities, np.uint8)
        data += record(image=image, mask=mask, visibility=np.ones(11, np.float32))
    path.write_bytes(data)  # not compressed
    out = tmp_path / 'out'
    convert('clevr_with_masks', path, out, '--num-test', '0', '--num-val', '0')
    assert json.loads((out / 'train' / 'num_objects.json').read_text()) == [2, 8]
    dataset = ClevrMasks(out, max_objects=6, pipeline=TEST, test_mode=True)
    assert len(dataset) == 1
    assert dataset[0]['data_samples'].gt_objects.labels.tolist() == [1, 2]
    assert Image.open(out / 'train' / 'images' / 'img_000001.png').getpixel((0, 0)) == (9, 9, 9)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda data: data[:-3], 'is cut short'),
        (lambda data: b'text' * 9, 'is no TFRecord file'),
        (lambda data: struct.pack('<QI', 4, 0) + b'text' + bytes(4), 'record 0 of'),
        (lambda data: record(image=np.zeros(3, np.uint8)), r"lacks ['mask']; it has ['image']"),
        (
            lambda data: record(image=np.zeros(3, np.uint8), mask=np.zeros(2, np.uint8)),
            'hold 3 and 2 bytes; expected images of 64x64',
        ),
        (
            lambda data: record(image=np.zeros(3, np.float32), mask=np.zeros(2, np.uint8)),
            'expected a feature that is a list of single bytes',
        ),
        (lambda data: gzip.compress(data)[:-20], 'is cut short'),
    ],
)
def test_other_files(tmp_path: Path, convert, change, message: str) -> None:
    image, mask, _ = scene(0, 64, 64, 7)
    path = tmp_path / 'a.tfrecords'
    path.write_bytes(change(record(image=image, mask=mask)))
    with pytest.raises(ValueError, match=re.escape(message)):
        convert('objects_room', path, tmp_path / 'out')
