import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from shard_folders import NAMES, PLAN, content, fill

from mmocl.datasets.shards import ShardFolder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    assert fill(tmp_path / 'cache') == [0, 1, 2]
    return tmp_path / 'cache'


def damages(whole: bytes, other: bytes) -> Iterator[tuple[str, bytes | None]]:
    """A file damaged in each of its parts; None if it is missing."""
    data = 8 + int.from_bytes(whole[:8], 'little')
    places = {'length': 0, 'sign': 7, 'brace': 8, 'header': data // 2, 'name': whole.index(b'tok')}
    for name, place in {**places, 'padding': data - 1, 'data': data, 'end': -1}.items():
        damaged = bytearray(whole)
        damaged[place] ^= 1
        yield name, bytes(damaged)
    yield from (('short', whole[:stop]) for stop in (0, 4, data // 2, data, len(whole) - 1))
    yield 'long', whole + b'?'
    yield 'garbage', b'\xff' * len(whole)
    yield 'foreign', other
    yield 'missing', None


@pytest.mark.parametrize('finished', [True, False])
def test_every_damage_of_a_shard_is_found_and_repaired(finished: bool, folder: Path) -> None:
    wanted = content(folder)
    first, path = (folder / PLAN.file_name(i) for i in range(2))
    for name, damaged in damages(path.read_bytes(), first.read_bytes()):
        if damaged is None:
            path.unlink()
        else:
            path.write_bytes(damaged)
        if finished:
            with pytest.raises(
                ValueError, match=r'shard-00001.safetensors .* run tools/cache_feat'
            ):
                ShardFolder(folder, 'features')
        else:
            (folder / 'manifest.json').rename(folder / 'plan.json')
        assert fill(folder) == [1], name
        assert content(folder) == wanted, name


@pytest.mark.parametrize('name', ['shard-00001.json', 'manifest.json', 'plan.json'])
def test_damage_of_small_files_is_found_and_repaired(name: str, folder: Path) -> None:
    wanted = content(folder)
    whole = wanted['manifest.json' if name == 'plan.json' else name]
    flipped = bytearray(whole)
    flipped[whole.index(b'features' if b'features' in whole else b'"shard"') + 2] ^= 1
    foreign = wanted['shard-00000.json']
    shards = [1] if name.startswith('shard') else []
    for damaged in (b'', b'{', b'[]', b'3', b'{}', b'\xff', bytes(flipped), foreign, None):
        if name == 'plan.json':
            (folder / 'manifest.json').unlink()
        if damaged is None:
            (folder / name).unlink(missing_ok=True)
        else:
            (folder / name).write_bytes(damaged)
        with pytest.raises(ValueError, match=r'run tools/cache_features.py again'):
            ShardFolder(folder, 'features', verify=False)
        assert fill(folder) == shards
        assert content(folder) == wanted


def test_what_is_damaged_is_named(folder: Path, tmp_path: Path) -> None:
    first, path = (folder / PLAN.file_name(i) for i in range(2))
    whole = path.read_bytes()

    def refused(message: str, verify: bool = True) -> None:
        with pytest.raises(ValueError, match=message):
            ShardFolder(folder, 'features', verify).find(NAMES[2])

    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    refused(r'shard-00001.safetensors is damaged: its bytes differ .* run tools/cache_features.py')
    ShardFolder(folder, 'features', verify=False)
    path.write_bytes(whole[:-1])
    refused(rf'00001.safetensors has {len(whole) - 1} bytes, expected {len(whole)}', verify=False)
    path.write_bytes(b'\xff' * len(whole))
    refused('00001.safetensors cannot be read', verify=False)
    shutil.copy(first, path)
    refused('00001.safetensors belongs to another cache', verify=False)
    path.unlink()
    refused(r'shard-00001.safetensors is missing; run tools/cache_features.py again', verify=False)

    manifest = folder / 'manifest.json'
    about = json.loads(manifest.read_text())
    path.write_bytes(whole)
    sums = about['sha256']
    assert sums[path.name] == hashlib.sha256(whole).hexdigest()
    for change, message in (
        ({'format': 0}, r'holds features in format 0; expected features in format 1'),
        ({'kind': 'images'}, r'holds images in format 1; expected features'),
        ({'color': 1}, 'manifest.json is damaged'),
        ({'shard_size': 0}, 'manifest.json is damaged'),
        ({'shard_size': 3}, 'shard-00000.json belongs to another cache'),
        ({'sha256': {**sums, path.name: '0' * 64}}, 'other checksums than the shards'),
    ):
        manifest.write_text(json.dumps({**about, **change}))
        refused(message)
    manifest.write_text('[]')
    refused(r'manifest.json is damaged')
    manifest.unlink()
    refused(r'is no finished cache, it has no manifest.json; run tools/cache_features.py again')
    with pytest.raises(FileNotFoundError, match=r'no folder with cached features at .*none; run'):
        ShardFolder(tmp_path / 'none', 'features')
