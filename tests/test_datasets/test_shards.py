import errno
import json
import os
import pickle
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
from safetensors import safe_open
from shard_folders import NAMES, PLAN, VALUES, content, fill, tensors

from mmocl.datasets.shards import (
    ShardFolder,
    ShardWriter,
    differences,
    shard_folder,
    shard_writer,
    write_atomically,
    write_shard,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    assert fill(tmp_path / 'cache') == [0, 1, 2]
    return tmp_path / 'cache'


def test_rows_are_read_from_safetensors(folder: Path) -> None:
    with safe_open(folder / 'shard-00001.safetensors', 'pt') as file:
        assert torch.equal(file.get_tensor('tokens'), VALUES[2:4])
        assert json.loads(file.metadata()['mmocl']) == PLAN.about(1)
    descriptors = os.listdir('/proc/self/fd') if os.path.exists('/proc/self/fd') else []
    shards = ShardFolder(folder, 'features')
    shards.find(NAMES[0])
    data = pickle.dumps(shards)
    assert len(data) < 2000
    for reader in (shards, pickle.loads(data)):
        for i, name in enumerate(NAMES):
            file, row = reader.find(name)
            assert torch.equal(file.get_slice('tokens')[row], VALUES[i])
            assert torch.equal(file.get_slice('tokens')[row, 1], VALUES[i, 1])
            assert int(file.get_slice('number')[row]) == i
    if descriptors:
        assert len(os.listdir('/proc/self/fd')) == len(descriptors)


def test_a_resumed_folder_has_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    wanted = content(folder)
    files = [f'shard-0000{i}.{kind}' for i in range(3) for kind in ('safetensors', 'json')]
    assert wanted.keys() == {'manifest.json', *files}
    assert fill(folder) == []
    assert content(folder) == wanted
    other = tmp_path / 'other'
    writer = ShardWriter(other, PLAN)
    assert writer.pending() == [0, 1, 2]
    writer.write(1, tensors(1))
    (other / 'shard-00000.safetensors.17.tmp').write_bytes(b'half')
    # Whole, but of other work.
    write_shard(other, replace(PLAN, key={}), 0, tensors(0))
    writer.write(2, tensors(2))
    path = other / PLAN.file_name(2)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r'shard-00000.json belongs to another cache; run'):
        writer.finish()
    del writer
    assert fill(other) == [0, 2]
    assert content(other) == wanted


def test_a_shard_is_read_once_a_run(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    digest = shard_writer.file_digest
    monkeypatch.setattr(
        shard_writer, 'file_digest', lambda path: [read.append(path.name), digest(path)][1]
    )
    fill(tmp_path / 'new')
    assert read == []
    (folder / PLAN.file_name(1)).unlink()
    assert fill(folder) == [1]
    assert sorted(read) == ['shard-00000.safetensors', 'shard-00002.safetensors']


def test_a_damaged_shard_has_to_be_made_before_it_is_finished(folder: Path) -> None:
    path = folder / PLAN.file_name(1)
    path.write_bytes(path.read_bytes()[:-1] + b'?')
    writer = ShardWriter(folder, PLAN)
    assert writer.pending() == [1]
    with pytest.raises(ValueError, match=r'shard-00001.json is missing; run the tool again'):
        writer.finish()


def test_a_file_is_whole_or_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / 'file'
    write_atomically(path, b'old')
    full = OSError(errno.ENOSPC, 'No space left on device')
    for failure in (full, KeyboardInterrupt):
        with monkeypatch.context() as patch:
            patch.setattr(os, 'fsync', Mock(side_effect=failure))
            with pytest.raises(type(full) if failure is full else failure):
                write_atomically(path, b'new')
        assert path.read_bytes() == b'old'
        # A full disk is not filled further.
        assert len(list(tmp_path.iterdir())) == (1 if failure is full else 2)


@pytest.mark.parametrize('moment', ['fsync', 'replace'])
@pytest.mark.parametrize('which', range(8))
def test_a_stop_in_the_middle_of_a_write(
    moment: str, which: int, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    real = getattr(os, moment)

    def stop(*args: object) -> None:
        calls.append(args)
        if len(calls) > which:
            raise KeyboardInterrupt
        real(*args)

    with monkeypatch.context() as patch:
        patch.setattr(os, moment, stop)
        with pytest.raises(KeyboardInterrupt):
            fill(tmp_path / 'other')
    fill(tmp_path / 'other')
    assert content(tmp_path / 'other') == content(folder)


def test_much_is_announced_before_it_is_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logged: list[str] = []
    monkeypatch.setattr(shard_folder, 'print_log', lambda text, logger: logged.append(text))
    ShardFolder(folder, 'features')
    monkeypatch.setattr(shard_folder, '_MUCH', 100)
    ShardFolder(folder, 'features')
    ShardFolder(folder, 'features', verify=False)
    assert ['checked' in text for text in logged] == [True, False, True]
    assert 'checking 0.0 GB, verify=False skips this' in logged[1]


def test_what_is_not_ours_is_left_alone(folder: Path, tmp_path: Path) -> None:
    (folder / 'notes.tmp').write_text('mine')
    (folder / 'shard-00000.safetensors.17.tmp').write_bytes(b'half')
    fill(folder)
    assert {'notes.tmp'} == {path.name for path in folder.glob('*.tmp')}
    thesis = tmp_path / 'thesis'
    thesis.mkdir()
    for name in ('a.tex', 'manifest.json', 'manifest.json.17.tmp', 'b.tmp'):
        (thesis / name).write_text('do not delete')
    before = content(thesis)
    with pytest.raises(ValueError, match=r'thesis is not empty \(a.tex, ...\), but nothing'):
        ShardWriter(thesis, PLAN)
    (thesis / 'manifest.json').write_text('{"name": "a web page"}')
    with pytest.raises(ValueError, match=r'holds another cache: name is'):
        ShardWriter(thesis, PLAN)
    assert content(thesis).keys() == before.keys()
    with pytest.raises(ValueError, match=r'a.tex is a file; expected a folder'):
        ShardWriter(thesis / 'a.tex', PLAN)


def test_another_plan_is_refused(folder: Path, tmp_path: Path) -> None:
    fewer = replace(PLAN, key={'backbone': {'norm': False}}, names=NAMES[:3])
    with pytest.raises(ValueError, match=r'holds another cache: key.backbone.norm is True in the'):
        ShardWriter(folder, fewer)
    begun = tmp_path / 'begun'
    ShardWriter(begun, PLAN).pending()
    # Nothing is lost as long as there is no shard.
    writer = ShardWriter(begun, replace(PLAN, shard_size=3))
    assert writer.pending() == [0, 1]
    del writer
    writer = ShardWriter(begun, PLAN)
    writer.pending()
    writer.write(0, tensors(0))
    del writer
    with pytest.raises(ValueError, match=r'shard_size is 2 in the cache, but 3 is wanted'):
        ShardWriter(begun, replace(PLAN, shard_size=3))
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


def test_differences_behind_texts_that_begin_alike() -> None:
    steps = [{'type': 'LoadImage', 'path': 'x' * 80}, {'type': 'RandomFlip'}]
    assert differences(steps, steps[:1], 'steps') == [
        "steps[1] is {'type': 'RandomFlip'} in the cache, but absent is wanted"
    ]
    assert differences({'a': 'x' * 200 + 'y'}, {'a': 'x' * 200 + 'z'}) == [
        "a is ...y' in the cache, but ...z' is wanted"
    ]
