"""The command-line tools with a config of mmsegmentation's Runner."""

import json
import re
import runpy
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image
from test_tools import run

from mmocl.engine.require_segmentation import require_segmentation
from mmocl.visualization.drawing import palette
from tools.show_dir import set_show_dir

ROOT = Path(__file__).resolve().parents[1]
CONFIG = """
default_scope = 'mmseg'
objects = dict(type='VocObjects', data_root={root!r}, split='val')
load = dict(type='LoadImageFromFile')
resize = dict(type='Resize', scale=(32, 32))
pack = dict(type='PackSegInputs')
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor', mean=[127.5] * 3, std=[127.5] * 3, bgr_to_rgb=True,
        size=(32, 32),
    ),
    backbone=dict(
        type='ResNetV1c', depth=18, stem_channels=8, base_channels=8, out_indices=(3,),
        strides=(1, 2, 1, 1), frozen_stages=4, norm_eval=True,
    ),
    decode_head=dict(
        type='mmocl.SlotSegHead', in_channels=64,
        slot_head=dict(
            type='SlotAttention', slot_dim=8, num_iters=1,
            initializer=dict(type='LearnedSlots', num_slots=3),
        ),
        decoder=dict(type='MLPDecoder', hidden_channels=8, grid=(4, 4)),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)
train_dataloader = dict(
    batch_size=2, num_workers=0, sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='mmocl.SlotSegDataset', objects=objects, num_slots=3,
        pipeline=[load, resize, dict(type='RandomFlip', prob=0.5), pack],
    ),
)
val_dataloader = dict(
    batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='mmocl.SlotSegDataset', objects=objects, num_slots=3, test_mode=True,
        pipeline=[load, resize, pack],
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(
    type='mmocl.ObjectDiscoveryMetric', protocol='square128', mask_sources=['segmentor'],
)
test_evaluator = val_evaluator
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=1e-3))
train_cfg = dict(type='IterBasedTrainLoop', max_iters=2, val_interval=2)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
randomness = dict(seed=0)
custom_hooks = [dict(type='mmocl.CollapseMonitorHook', interval=2)]
log_processor = dict(by_epoch=False)
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=1),
    checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=2),
    visualization=dict(type='SegVisualizationHook'),
)
visualizer = dict(
    type='SegLocalVisualizer', name='visualizer', vis_backends=[dict(type='LocalVisBackend')]
)
"""


@pytest.fixture(scope='module')
def config(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp('mmseg') / 'slots.py'
    path.write_text(CONFIG.replace('{root!r}', repr(str(tiny_data / 'VOC2012'))))
    return str(path)


@pytest.fixture(scope='module')
def trained(config: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    work_dir = tmp_path_factory.mktemp('trained')
    log = run(sys.executable, 'tools/train.py', config, '--work-dir', str(work_dir))
    assert 'Iter(train) [2/2]' in log
    assert 'decode.loss_reconstruction:' in log
    assert 'ocl/mbo_i:' in log
    assert 'collapse_mask_entropy:' in log
    return work_dir / 'iter_2.pth'


def test_several_protocols_and_pictures(config: str, trained: Path, tmp_path: Path) -> None:
    names = ['square128', 'spot320(crop=squash, input_size=48)']
    # The attention takes images of any size.
    log = run(
        sys.executable, 'tools/test.py', config, str(trained), '--work-dir', str(tmp_path),
        '--protocol', *names, '--show-dir', str(tmp_path / 'pictures'), '--cfg-options',
        'model.decode_head.masks=attention',
    )  # fmt: skip
    assert 'Pass 2 of 2: spot320(crop=squash, input_size=48)' in log
    scores = json.loads((tmp_path / 'scores.json').read_text())
    for name, size in zip(names, (32, 48), strict=True):
        record = json.loads(Path(scores['records'][name]['path']).read_text())
        assert record['shown'] == [{'crop': 'squash', 'size': [size, size], 'frame': None}]
        drawn = tmp_path / 'pictures' / f'pass_{names.index(name) + 1}'
        drawn = sorted(drawn.glob('vis_data/vis_image/test_*.png'))
        assert len(drawn) == 4
        with Image.open(drawn[0]) as picture:
            assert len(np.unique(np.asarray(picture).reshape(-1, 3), axis=0)) > 3


def test_two_processes_resume_in_bfloat16(config: str, trained: Path, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = {'PORT': str(free.getsockname()[1])}
    log = run(
        'bash', 'tools/dist_train.sh', config, '2', '--work-dir', str(tmp_path), '--amp',
        '--resume', str(trained), '--cfg-options', 'train_cfg.max_iters=4', **port,
    )  # fmt: skip
    assert 'resumed epoch: 0, iter: 2' in log
    assert 'Iter(train) [4/4]' in log
    assert 'Iter(train) [2/4]' not in log
    saved = torch.load(tmp_path / 'iter_4.pth', weights_only=False)
    assert saved['meta']['dataset_meta']['classes'] == ('slot 0', 'slot 1', 'slot 2')
    assert "type='mmocl.Bf16OptimWrapper'" in saved['meta']['cfg']
    run(
        'bash', 'tools/dist_test.sh', config, str(tmp_path / 'iter_4.pth'), '2', '--work-dir',
        str(tmp_path), '--out', str(tmp_path / 'out.json'), **port,
    )  # fmt: skip
    found = json.loads((tmp_path / 'out.json').read_text())
    assert found['metrics']['ocl/num_images'] == 4
    assert 0 < found['metrics']['ocl/mbo_i'] < 1
    assert found['data']['objects']['type'] == 'VocObjects'
    assert found['records']['ocl']['num_images'] == 4


def test_a_config_that_draws_nothing_is_refused(config: str) -> None:
    cfg = Config.fromfile(config)
    cfg.visualizer.vis_backends = None
    with pytest.raises(ValueError, match=r"needs visualizer=dict\(type='SegLocalVisualizer'"):
        set_show_dir(cfg, 'pictures')
    for hooks in ({'visualization': {'type': 'mine.Hook'}}, {'visualization': None}, None):
        cfg.default_hooks = hooks
        with pytest.raises(ValueError, match=r"SegVisualizationHook, got ('mine.Hook'|None)"):
            set_show_dir(cfg, 'pictures')


def test_mmsegs_inferencer_draws_slots(config: str, trained: Path, tmp_path: Path) -> None:
    # Imported here, for its import is slow.
    from mmseg.apis import MMSegInferencer

    Image.new('RGB', (50, 40), 'white').save(tmp_path / 'photo.jpg')
    # The config that training wrote, of which the dataset's pipeline is used.
    inferencer = MMSegInferencer(
        model=str(trained.parent / 'slots.py'), weights=str(trained), device='cpu',
        show_progress=False,
    )  # fmt: skip
    out = inferencer(
        str(tmp_path / 'photo.jpg'), out_dir=str(tmp_path), img_out_dir='vis', opacity=1.0,
        with_labels=False,
    )  # fmt: skip
    ids = out['predictions']
    assert ids.shape == (40, 50)
    with Image.open(tmp_path / 'vis' / 'photo.jpg') as picture:
        colors = np.asarray(picture)[2::10, 2::10].astype(int)
    np.testing.assert_allclose(colors, palette(3)[ids[2::10, 2::10]], atol=40)


@pytest.fixture
def without_mmseg(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    return lambda: monkeypatch.setitem(sys.modules, 'mmseg', None)


@pytest.mark.parametrize(
    'content',
    [
        {'default_scope': 'mmseg'},
        {'model': {'backbone': [{'type': 'mmseg.ResNetV1c'}]}},
        {'model': {'head': {'type': 'FCNHead', '_scope_': 'mmseg'}}},
    ],
)
def test_a_missing_mmsegmentation_is_named(content: dict, without_mmseg: Callable) -> None:
    require_segmentation(Config(content))
    without_mmseg()
    with pytest.raises(ImportError, match=re.escape("pip install 'mmocl[segmentation]'")):
        require_segmentation(Config(content))
    require_segmentation(Config({'model': {'type': 'SlotAutoencoder'}, 'default_scope': 'mmocl'}))


@pytest.mark.parametrize('tool', ['train', 'test'])
def test_the_tools_name_it(
    tool: str, config: str, trained: Path, tmp_path: Path, without_mmseg: Callable,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    without_mmseg()
    files = [config] if tool == 'train' else [config, str(trained)]
    monkeypatch.setattr(sys, 'argv', [tool, *files, '--work-dir', str(tmp_path / 'w')])
    with pytest.raises(ImportError, match='this config needs mmseg, which'):
        runpy.run_path(str(ROOT / f'tools/{tool}.py'), run_name='__main__')
    assert not (tmp_path / 'w').exists()
