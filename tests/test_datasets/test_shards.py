import json
import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from mmocl.datasets.shards import (
    ShardFolder,
    ShardPlan,
    ShardWriter,
    differences,
    shard_file,
    write_shard,
)

NAMES = [f'{i}.jpg' for i in range(5)]
PLAN = ShardPlan('features', {'backbone': {'norm': True}}, NAMES, 2, {}, {'torch': '2'})
VALUES = torch.randn(5, 3, generator=torch.Generator().manual_seed(0)).bfloat16()


def tensors(shard: int) -> dict[str, torch.Tensor]:
    return {'tokens': VALUES[PLAN.rows(shard)], 'number': torch.tensor([*PLAN.rows(shard)])}


def fill(folder: Path, plan: ShardPlan = PLAN) -> list[int]:
    """Make what is missing; which shards that were."""
    writer = ShardWriter(folder, plan)
    pending = writer.pending()
    for shard in pending:
        writer.write(shard, tensors(shard))
    writer.finish()
    return pending


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    assert fill(tmp_path / 'cache') == [0, 1, 2]
    return tmp_path / 'cache'


def test_rows_are_read_from_safetensors(folder: Path) -> None:
    with safe_open(folder / 'shard-00001.safetensors', 'pt') as file:
        assert torch.equal(file.get_tensor('tokens'), VALUES[2:4])
        assert file.metadata()['shard'] == '1'
    shards = ShardFolder(folder, 'features')
    data = pickle.dumps(shards)
    assert len(data) < 2000
    for reader in (shards, pickle.loads(data)):
        for i, name in enumerate(NAMES):
            file, row = reader.find(name)
            assert torch.equal(file.row('tokens', row), VALUES[i])
            assert torch.equal(file.row('tokens', row, 1), VALUES[i, 1])
            assert int(file.row('number', row)) == i
    # A copy: training may change it.
    file.row('tokens', 0).zero_()
    assert torch.equal(file.row('tokens', 0), VALUES[4])


def test_a_resumed_folder_has_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    wanted = content(folder)
    assert wanted.keys() == {'manifest.json', *(PLAN.file_name(i) for i in range(3))}
    assert fill(folder) == []
    assert content(folder) == wanted
    other = tmp_path / 'other'
    writer = ShardWriter(other, PLAN)
    assert writer.pending() == [0, 1, 2]
    writer.write(1, tensors(1))
    (other / 'shard-00000.safetensors.17.tmp').write_bytes(b'half')
    # Whole, but of other work.
    foreign = {'plan': replace(PLAN, key={}).digest, 'shard': '0'}
    write_shard(other / PLAN.file_name(0), tensors(0), foreign)
    writer.write(2, tensors(2))
    path = other / PLAN.file_name(2)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r'shard-00000.safetensors is missing or damaged; run'):
        writer.finish()
    del writer
    assert fill(other) == [0, 2]
    assert content(other) == wanted


@pytest.mark.parametrize('moment', ['fsync', 'replace'])
@pytest.mark.parametrize('which', range(5))
def test_a_stop_in_the_middle_of_a_write(
    moment: str, which: int, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    real = getattr(shard_file.os, moment)

    def stop(*args: object) -> None:
        calls.append(args)
        if len(calls) > which:
            raise KeyboardInterrupt
        real(*args)

    with monkeypatch.context() as patch:
        patch.setattr(shard_file.os, moment, stop)
        with pytest.raises(KeyboardInterrupt):
            fill(tmp_path / 'other')
    fill(tmp_path / 'other')
    assert content(tmp_path / 'other') == content(folder)


def test_a_finished_folder_is_repaired(folder: Path) -> None:
    wanted = content(folder)
    path = folder / PLAN.file_name(1)
    flipped = bytearray(path.read_bytes())
    flipped[-1] ^= 1
    path.write_bytes(flipped)
    (folder / PLAN.file_name(0)).unlink()
    shutil.copy(folder / PLAN.file_name(1), folder / PLAN.file_name(0))
    assert fill(folder) == [0, 1]
    assert content(folder) == wanted


def test_damage_is_named(folder: Path, tmp_path: Path) -> None:
    first, path = (folder / PLAN.file_name(i) for i in range(2))
    whole = path.read_bytes()

    def refused(message: str, verify: bool = True) -> None:
        with pytest.raises(ValueError, match=message):
            ShardFolder(folder, 'features', verify)

    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    refused(r'shard-00001.safetensors is damaged: its bytes differ .* run tools/cache_features.py')
    ShardFolder(folder, 'features', verify=False)
    for damaged in (whole[:-1], whole[:4], b''):
        path.write_bytes(damaged)
        refused(rf'00001.safetensors has {len(damaged)} bytes, expected {len(whole)}', verify=False)
    path.write_bytes(b'\xff' * len(whole))
    refused('00001.safetensors cannot be read', verify=False)
    shutil.copy(first, path)
    refused('00001.safetensors belongs to another cache', verify=False)
    other = replace(PLAN, key={})
    write_shard(path, tensors(1), {'plan': other.digest, 'shard': '1'})
    refused('00001.safetensors belongs to another cache', verify=False)
    path.unlink()
    refused(r'shard-00001.safetensors is missing; run tools/cache_features.py again', verify=False)

    manifest = folder / 'manifest.json'
    about = json.loads(manifest.read_text())
    for change, message in (
        ({'format': 0}, r'holds features in format 0; expected features in format 1'),
        ({'kind': 'images'}, r'holds images in format 1; expected features'),
        ({'shards': about['shards'][:2]}, 'manifest.json is damaged'),
        ({'color': 1}, 'manifest.json is damaged'),
    ):
        manifest.write_text(json.dumps({**about, **change}))
        refused(message)
    manifest.write_text('{')
    refused(r'manifest.json is damaged \(Expecting')
    manifest.unlink()
    refused(r'is no finished cache, it has no manifest.json; run tools/cache_features.py again')
    with pytest.raises(FileNotFoundError, match=r'no folder with cached features at .*none; run'):
        ShardFolder(tmp_path / 'none', 'features')


def test_another_plan_is_refused(folder: Path, tmp_path: Path) -> None:
    fewer = replace(PLAN, key={'backbone': {'norm': False}}, names=NAMES[:3])
    with pytest.raises(ValueError, match=r'holds another cache: key.backbone.norm is True in the'):
        ShardWriter(folder, fewer)
    begun = tmp_path / 'begun'
    ShardWriter(begun, PLAN).pending()
    with pytest.raises(ValueError, match=r'shard_size is 2 in the cache, but 3 is wanted'):
        ShardWriter(begun, replace(PLAN, shard_size=3))
    (tmp_path / 'full').mkdir()
    (tmp_path / 'full' / 'thesis.tex').write_text('do not delete')
    with pytest.raises(ValueError, match=r'is no cache, but not empty either \(thesis.tex'):
        ShardWriter(tmp_path / 'full', PLAN)
    writer = ShardWriter(begun, PLAN)
    with pytest.raises(ValueError, match='another process is writing into'):
        ShardWriter(begun, PLAN)
    del writer


def test_differences() -> None:
    cached = {'a': 1, 'b': [1, {'c': 2}], 'd': list(range(9))}
    assert differences(cached, cached) == []
    assert differences(cached, {'b': [1, {'c': 3}], 'd': [0], 'e': None}) == [
        'a is 1 in the cache, but absent is wanted',
        'b[1].c is 2 in the cache, but 3 is wanted',
        'd is a list of 9 in the cache, but [0] is wanted',
        'e is absent in the cache, but None is wanted',
    ]
