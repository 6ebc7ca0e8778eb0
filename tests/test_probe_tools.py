"""``tools/dump_slots.py`` and ``tools/probe_properties.py`` as a user calls them."""

import json
import math
import os
import subprocess
import sys
from argparse import ArgumentTypeError
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmocl.evaluation.protocols import get_protocol
from mmocl.evaluation.slot_dump import SlotDump
from mmocl.registry import MODELS
from tools.dump_slots import source, whole_split
from tools.probe_properties import few_held_out, name_and_count, summarize, table
from tools.provenance import current_commit

ROOT = Path(__file__).resolve().parents[1]
CONFIG = 'configs/psa/psa_conv_sprites.py'
# Without random draws, so that two runs can be compared.
TINY = [
    'test_dataloader.dataset.num_images=7',
    'test_dataloader.batch_size=3',
    'model.slot_head.initializer.type=LearnedSlots',
]
PROPERTIES = ['position', 'shape']


def run(*command: str) -> str:
    """Run a command in the repository and return what it printed."""
    env = {**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'}
    result = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    return result.stdout + result.stderr


def dump_slots(*args: str, launcher: tuple[str, ...] = (sys.executable,)) -> str:
    return run(*launcher, 'tools/dump_slots.py', CONFIG, *args, '--cfg-options', *TINY)


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp('model') / 'model.pth'
    cfg = Config.fromfile(ROOT / CONFIG)
    cfg.merge_from_dict(dict(option.split('=') for option in TINY[2:]))
    # The fixture of every test that does it comes later.
    init_default_scope('mmocl')
    torch.manual_seed(1)
    meta = {'seed': 5, 'iter': 70}
    torch.save({'state_dict': MODELS.build(cfg.model).state_dict(), 'meta': meta}, path)
    return path


@pytest.fixture(scope='module')
def path(checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp('dump') / 'slots.npz'
    log = dump_slots(
        str(checkpoint), str(path), '--properties', *PROPERTIES, '--mask-source', 'decoder',
        '--attention', '--work-dir', str(path.parent / 'w'),
    )  # fmt: skip
    assert 'dump/num_images: 7.0' in log
    assert 'ocl/' not in log
    assert f'Slots are in {path}' in log
    return path


def test_a_split_is_dumped(path, checkpoint) -> None:
    dump = SlotDump.load(path)
    assert dump.slots.shape == (7, 5, 32)
    assert dump.img_id.tolist() == [str(i) for i in range(7)]
    assert dump.attn.shape == (7, 5, 16 * 16)
    assert sorted(dump.properties) == PROPERTIES
    assert dump.iou.shape == (7, 5, dump.num_objects.max())
    info = dict(dump.info)
    command, commit = info.pop('command'), info.pop('commit')
    assert command.startswith(f'python tools/dump_slots.py {CONFIG} {checkpoint} {path}')
    assert commit == current_commit()
    assert info == {
        'config': CONFIG,
        'checkpoint': str(checkpoint),
        'seed': 5,
        'steps': 70,
        'split': 'test',
        'protocol': 'square128',
        'protocol_version': get_protocol('square128').version,
        'mask_source': 'decoder',
    }


def test_a_source_that_is_not_known(tmp_path) -> None:
    cfg = Config({'randomness': {'seed': 4}})
    info = source(cfg, 'a.py', 'none', 'train')
    assert (info['checkpoint'], info['seed'], info['steps']) == (None, 4, 0)
    assert info['split'] == 'train'
    assert source(Config(), 'a.py', 'none', 'train')['seed'] is None
    torch.save({'state_dict': {}}, tmp_path / 'bare.pth')
    info = source(cfg, 'a.py', str(tmp_path / 'bare.pth'), 'test')
    assert (info['seed'], info['steps']) == (None, None)


def test_two_processes_dump_the_same(path, checkpoint, tmp_path) -> None:
    other = tmp_path / 'slots.npz'
    launcher = (
        sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node=2',
    )  # fmt: skip
    dump_slots(
        str(checkpoint), str(other), '--properties', *PROPERTIES, '--mask-source', 'decoder',
        '--attention', '--launcher', 'pytorch', '--work-dir', str(tmp_path), launcher=launcher,
    )  # fmt: skip
    with np.load(path) as first, np.load(other) as second:
        assert first.files == second.files
        for name in set(first.files) - {'info'}:  # other commands
            if first[name].dtype.kind == 'f':
                np.testing.assert_allclose(second[name], first[name], atol=1e-5, err_msg=name)
            else:
                np.testing.assert_array_equal(second[name], first[name], name)


def test_the_untrained_model_and_a_missing_checkpoint(path, tmp_path) -> None:
    other = tmp_path / 'slots.npz'
    dump_slots('none', str(other), '--work-dir', str(tmp_path))
    dump = SlotDump.load(other)
    assert dump.num_objects is None
    assert not np.allclose(dump.slots, SlotDump.load(path).slots)
    with pytest.raises(AssertionError, match=r"No checkpoint at 'nowhere\.pth' \('none' takes"):
        dump_slots('nowhere.pth', str(other))


def test_a_training_split_is_read_once_in_order() -> None:
    cfg = Config.fromfile(ROOT / CONFIG)
    assert cfg.train_dataloader.sampler.type == 'InfiniteSampler'
    loader = whole_split(cfg, 'train', objects=False)
    assert loader['sampler'] == {'type': 'DefaultSampler', 'shuffle': False}
    assert not loader['drop_last']
    assert loader['dataset'] == cfg.train_dataloader.dataset
    loader = whole_split(cfg, 'train', objects=True)
    assert loader['dataset'] == {**cfg.train_dataloader.dataset, 'test_mode': True}


def test_cached_tokens_of_a_training_split_stay_what_they_are() -> None:
    cfg = Config.fromfile(ROOT / 'configs/dinosaur/dinosaur_mlp_small.py')
    own = cfg.train_dataloader.dataset
    dataset = whole_split(cfg, 'train', objects=True)['dataset']
    assert dataset['pipeline'][:2] == own.pipeline[:2]
    assert [step.type for step in dataset['pipeline'][2:]] == ['LoadObjectMasks', 'PackSlotInputs']
    assert dataset['token_cache'] == {'folder': own.token_cache, 'views': ['center']}
    dataset = whole_split(cfg, 'train', objects=False)['dataset']
    assert dataset['pipeline'] == own.pipeline


def test_a_training_split_is_shown_without_random_transforms() -> None:
    cfg = Config.fromfile(ROOT / 'configs/dinosaur/dinosaur_mlp_voc.py')
    assert 'RandomFlip' in [step.type for step in cfg.train_dataloader.dataset.pipeline]
    tested = cfg.test_dataloader.dataset
    dataset = whole_split(cfg, 'train', objects=True)['dataset']
    changes = {'pipeline': tested.pipeline, 'test_mode': True}
    assert dataset == {**cfg.train_dataloader.dataset, **changes}
    dataset = whole_split(cfg, 'train', objects=False)['dataset']
    names = [step.type for step in dataset['pipeline']]
    assert names == ['LoadImage', 'ResizeCrop', 'PackSlotInputs']
    assert dataset['pipeline'][1].crop == 'center'
    assert not dataset.get('test_mode')
    assert whole_split(cfg, 'test', objects=False)['dataset'] == tested
    tested.pipeline = []
    with pytest.raises(ValueError, match=r'test_dataloader\.dataset\.pipeline, but there is none'):
        whole_split(cfg, 'train', objects=False)
    cfg.train_dataloader.dataset = {'type': 'RepeatDataset', 'dataset': tested, 'times': 2}
    with pytest.raises(ValueError, match=r'wraps others \(dataset\)'):
        whole_split(cfg, 'train', objects=False)


def test_properties_are_probed(path, tmp_path) -> None:
    out = tmp_path / 'new' / 'probes.json'
    log = run(
        sys.executable, 'tools/probe_properties.py', str(path), '--steps', '3', '--seeds', '0', '1',
        '--num-classes', 'shape=4', '--out', str(out),
    )  # fmt: skip
    lines = [line.split() for line in log.splitlines()]
    for metric in (['position', 'r2'], ['shape', 'accuracy']):
        rows = [line[2:4] for line in lines if line[:2] == metric]
        assert rows == [[p, m] for p in ('linear', 'mlp') for m in ('loss', 'overlap')]
    assert 'ETA' in log
    assert '2 seeds; images with objects: 5 train, 1 val, 1 test' in log
    content = json.loads(out.read_text())
    assert content['command'].startswith('python tools/probe_properties.py ')
    assert content.keys() >= {'commit', 'dump', 'steps', 'seeds', 'num_images'}
    assert content['versions'].keys() == {'mmocl', 'torch', 'numpy', 'scipy'}
    assert content['versions']['torch'] is not None
    dumps = {str(path): {'slots': [7, 5, 32], 'info': SlotDump.load(path).info}}
    assert content['dumps'] == dumps
    assert len(content['warnings']) == 1
    assert f'warning: {content["warnings"][0]}' in log.splitlines()
    assert 'at the least 1 image and ' in content['warnings'][0]
    assert len(content['runs']) == 8
    assert len(content['summary']) == 8
    assert all(row['shuffled'] is not None for row in content['summary'] if row['value'])


def test_options_of_the_probe(path) -> None:
    log = run(
        sys.executable, 'tools/probe_properties.py', str(path), '--steps', '2', '--seeds', '3',
        '--probe', 'linear', '--match', 'loss', '--properties', 'position', '--no-shuffled',
        '--raw-slots',
    )  # fmt: skip
    (row,) = (line.split() for line in log.splitlines() if line.startswith('position'))
    assert row[1:4] == ['r2', 'linear', 'loss']
    assert '+-' not in row
    assert row[6] == '-'


def test_numbers_of_classes_are_read() -> None:
    assert name_and_count('shape=4') == ('shape', 4)
    for text in ('shape', 'shape=', '=4', 'shape=four'):
        with pytest.raises(ArgumentTypeError, match='expected NAME=COUNT, got'):
            name_and_count(text)


def test_few_held_out_images_or_objects() -> None:
    def result(images: int, objects: int) -> dict:
        return {'num_images': (70, 15, images), 'num_matched': objects}

    assert few_held_out([result(30, 30), result(30, 40)]) == []
    (warning,) = few_held_out([result(30, 31), result(30, 29)])
    assert '30 images and 29 objects with a slot; expected 30 of each' in warning
    (warning,) = few_held_out([result(29, 80)])
    assert '29 images and 80 objects' in warning


def test_seeds_are_summarised() -> None:
    def result(seed: int, value: float, shuffled: float | None) -> dict:
        score = {
            'name': 'size', 'metric': 'r2', 'value': value, 'baseline': 0.0, 'shuffled': shuffled
        }  # fmt: skip
        warnings = ['undefined'] if math.isnan(value) else []
        return {
            'probe': 'mlp', 'match': 'loss', 'seed': seed, 'scores': [score], 'num_matched': 3,
            'num_objects': 4, 'warnings': warnings,
        }  # fmt: skip

    (row,) = summarize([result(0, 0.5, 0.1), result(1, 0.7, 0.3), result(2, math.nan, None)])
    assert row['value'] == pytest.approx(0.6)
    assert row['value_std'] == pytest.approx(math.sqrt(0.02))
    assert row['shuffled'] == pytest.approx(0.2)
    assert row['num_seeds'] == 2
    assert row['matched'] == 0.75
    assert row['warnings'] == ['mlp, loss, seed 2: undefined']
    assert '0.600 +- 0.141  0.000 +- 0.000  0.200 +- 0.141  75.0%' in table([row])
    (row,) = summarize([result(2, math.nan, None)])
    assert table([row]).splitlines()[2].split() == [
        'size', 'r2', 'mlp', 'loss', 'undefined', '0.000', '-', '75.0%',
    ]  # fmt: skip
