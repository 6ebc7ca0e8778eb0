"""Checkpoints are read as data, through MMEngine's own doors too."""

import logging
import pickle
import re
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from evil_files import EVIL, Call, zipped
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader
from mmengine.runner import load_checkpoint as mmengine_load
from PIL import Image
from torch import nn

from mmocl.model_files import load_checkpoint, load_pickle, trained_config
from mmocl.models.checkpoint import load_trained

REFUSED = 'could run any code'


@pytest.mark.parametrize('write', EVIL)
def test_no_code_of_a_pickle_is_run(write, tmp_path: Path) -> None:
    proof = tmp_path / 'proof'
    path = str(write(tmp_path / 'evil.pth', proof))
    model = nn.Linear(2, 2)
    for load in (
        load_checkpoint,
        lambda name: load_trained(model, name, 'the model'),
        lambda name: mmengine_load(model, name),
        CheckpointLoader.load_checkpoint,
    ):
        with pytest.raises(ValueError, match=REFUSED) as error:
            load(path)
        assert path in str(error.value)
        assert 'weights_only=False' in str(error.value)  # how to convert it
    assert not proof.exists()
    # The file does run code where nothing checks it.
    if write.__name__ != 'legacy':
        with open(path, 'rb') as file:
            torch.load(file, weights_only=False) if write is zipped else pickle.load(file)
        assert proof.exists()


def test_the_name_that_a_file_asks_for_is_told(tmp_path: Path) -> None:
    path = str(zipped(tmp_path / 'evil.pth', tmp_path / 'proof'))
    with pytest.raises(ValueError, match=r'asks for (posix|nt)\.mkdir'):
        load_checkpoint(path)


class _Reach:
    """Pickled as ``getattr(OrderedDict, 'fromkeys')``: MMEngine allows every attribute."""

    def __reduce__(self) -> tuple:
        return getattr, (OrderedDict, 'fromkeys')


def test_getattr_reaches_nothing(tmp_path: Path) -> None:
    torch.save({'state_dict': _Reach()}, tmp_path / 'reach.pth')
    with pytest.raises(ValueError, match=r'asks for builtins\.getattr'):
        load_checkpoint(str(tmp_path / 'reach.pth'))


def test_arrays_of_objects_are_refused(tmp_path: Path) -> None:
    array = np.array([Call(tmp_path / 'proof')], dtype=object)
    torch.save({'state_dict': array}, tmp_path / 'objects.pth')
    with pytest.raises(ValueError, match=REFUSED):
        load_checkpoint(str(tmp_path / 'objects.pth'))
    assert not (tmp_path / 'proof').exists()


def test_what_mmengine_saves_comes_back(tmp_path: Path) -> None:
    history = HistoryBuffer([1.0, 2.5], [1, 1], max_length=7)
    content = {
        'state_dict': nn.Linear(2, 2).state_dict(),
        'message_hub': {
            'log_scalars': OrderedDict(loss=history),
            'runtime_info': OrderedDict(best=np.float32(0.5), steps=np.int64(3)),
            'resumed_keys': {'loss': True},
        },
        'meta': {'iter': 3, 'palette': np.arange(6, dtype='>i2').reshape(3, 2), 't': (1, [None])},
        'arrays': [np.asfortranarray(np.eye(2, 3)), np.array(['ab', 'c']), np.array(True)],
    }
    torch.save(content, tmp_path / 'a.pth')
    loaded = load_checkpoint(str(tmp_path / 'a.pth'))
    hub = loaded['message_hub']
    assert type(hub['log_scalars']['loss']) is HistoryBuffer
    assert hub['log_scalars']['loss'].data[0].tolist() == [1.0, 2.5]
    hub['log_scalars']['loss'].update(4.0)
    assert hub['log_scalars']['loss'].mean() == 2.5
    assert hub['log_scalars']['loss'].max_length == 7
    assert hub['runtime_info'] == OrderedDict(best=np.float32(0.5), steps=np.int64(3))
    assert type(hub['runtime_info']['best']) is np.float32
    assert loaded['meta']['palette'].tolist() == [[0, 1], [2, 3], [4, 5]]
    assert loaded['meta']['t'] == (1, [None])
    for found, wanted in zip(loaded['arrays'], content['arrays'], strict=True):
        np.testing.assert_array_equal(found, wanted)
        assert found.dtype == wanted.dtype
        assert type(found) is np.ndarray
    torch.save(dict(loaded), tmp_path / 'b.pth')  # as the next checkpoint of a resumed run
    assert load_checkpoint(str(tmp_path / 'b.pth'))['meta']['iter'] == 3


def test_a_list_in_itself_is_no_endless_loop(tmp_path: Path) -> None:
    inner: list = []
    inner.append(inner)
    torch.save({'a': inner}, tmp_path / 'a.pth')
    assert load_checkpoint(str(tmp_path / 'a.pth'))['a'][0]


def test_damaged_files_are_named(tmp_path: Path) -> None:
    torch.save({'state_dict': {'w': torch.zeros(1000)}}, tmp_path / 'a.pth')
    data = (tmp_path / 'a.pth').read_bytes()
    (tmp_path / 'cut.pth').write_bytes(data[:500])
    (tmp_path / 'empty.pth').write_bytes(b'')
    (tmp_path / 'text.pth').write_bytes(b'hello world')
    (tmp_path / 'version.pth').write_bytes(b'version https://git-lfs.github.com/spec/v1\n')
    Image.new('RGB', (4, 4)).save(tmp_path / 'picture.pth', format='png')
    for name in ('text', 'version', 'picture'):
        with pytest.raises(ValueError, match=rf'{name}\.pth is no checkpoint: ') as error:
            load_checkpoint(str(tmp_path / f'{name}.pth'))
        assert 'weights_only' not in str(error.value)
    with pytest.raises(FileNotFoundError, match='it is a folder'):
        load_checkpoint(str(tmp_path))
    for name in ('cut', 'empty'):
        with pytest.raises(ValueError, match=rf'{name}\.pth (is no readable|was not loaded)'):
            load_checkpoint(str(tmp_path / f'{name}.pth'))
    torch.save([1, 2], tmp_path / 'list.pth')
    with pytest.raises(ValueError, match=r'list\.pth holds a list, expected weights by name'):
        load_checkpoint(str(tmp_path / 'list.pth'))
    with pytest.raises(FileNotFoundError, match='No checkpoint at'):
        load_checkpoint(str(tmp_path / 'absent.pth'))


def test_any_cut_gives_one_clear_error(tmp_path: Path) -> None:
    torch.save({'a': HistoryBuffer([1.0], [1]), 'b': np.float64(1)}, tmp_path / 'a.pth')
    torch.save([1.0], tmp_path / 'old.pth', _use_new_zipfile_serialization=False)
    for source in ('a.pth', 'old.pth'):
        data = (tmp_path / source).read_bytes()
        for size in range(0, len(data) - 1, max(1, len(data) // 40)):
            (tmp_path / 'cut.pth').write_bytes(data[:size])
            with pytest.raises(ValueError, match=re.escape('cut.pth')):
                load_pickle(str(tmp_path / 'cut.pth'), 'cut.pth')


def test_a_config_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    proof = tmp_path / 'proof'
    evil = f"model = __import__('os').mkdir({str(proof)!r})"
    torch.save({'state_dict': {}, 'meta': {'config': evil, 'cfg': evil}}, tmp_path / 'a.pth')
    checkpoint = load_checkpoint(str(tmp_path / 'a.pth'))
    assert 'config' not in checkpoint['meta']  # which ``Runner.resume`` would run
    with pytest.raises(ValueError, match=r'a\.pth: .* more than plain values, and is not run'):
        trained_config(checkpoint, 'a.pth')
    assert not proof.exists()


def test_addresses_are_read_like_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    proof = tmp_path / 'proof'
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))
    fetch = lambda url, path, progress: zipped(Path(path), proof)  # noqa: E731
    monkeypatch.setattr(torch.hub, 'download_url_to_file', fetch)
    with pytest.raises(ValueError, match=REFUSED):
        CheckpointLoader.load_checkpoint('https://example.org/a.pth?x=1')
    assert (tmp_path / 'checkpoints' / 'a.pth').is_file()
    assert not proof.exists()


def test_both_files_are_named_when_they_do_not_fit(tmp_path: Path) -> None:
    torch.save({'state_dict': nn.Linear(3, 2).state_dict()}, tmp_path / 'a.pth')
    with pytest.raises(ValueError, match=r"Checkpoint .*a\.pth does not fit the model of 'b\.py'"):
        load_trained(nn.Linear(2, 2), str(tmp_path / 'a.pth'), "the model of 'b.py'")
    model = nn.Linear(3, 2)
    load_trained(model, str(tmp_path / 'a.pth'), 'it')


def test_the_loader_is_announced_by_name(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert CheckpointLoader._get_checkpoint_loader('a.pth').__name__[10:] == 'local'
    with caplog.at_level(logging.INFO):
        torch.save({}, tmp_path / 'a.pth')
        CheckpointLoader.load_checkpoint(str(tmp_path / 'a.pth'))
