"""The configs of ``projects/mmseg_slot_head`` under stock Runners."""

from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from timm.models import load_state_dict

from mmocl.registry import MODELS
from projects.mmseg_slot_head.convert_vit import convert

FOLDER = Path(__file__).resolve().parents[2] / 'projects/mmseg_slot_head/configs'
CONFIGS = sorted(path.name for path in FOLDER.glob('*.py'))
# What a test of each prints.
SCORES = {
    'fcn_voc.py': 'mIoU',
    'linear_probe_voc.py': 'mIoU',
    'slot_autoencoder_mit_voc.py': 'ocl/mbo_i',
    'slot_autoencoder_resnet_voc.py': 'ocl/mbo_i',
    'slot_autoencoder_vit_voc.py': 'ocl/mbo_i',
    'slot_probe_voc.py': 'mIoU',
    'slot_seg_voc.py': 'ocl/mbo_i',
    'slot_semantic_deep_voc.py': 'mIoU',
    'slot_semantic_voc.py': 'mIoU',
    'slots_voc.py': 'ocl/mbo_i',
}
REAL = ['slot_autoencoder_vit_voc.py', 'slot_seg_voc.py', 'slot_semantic_voc.py']
VIT = dict(type='mmocl.TimmBackbone', model_name='test_vit')
MMSEG_VIT = dict(img_size=64, patch_size=16, embed_dims=24, num_layers=1, num_heads=2)


def _shrunk(value: Any) -> Any:
    """Every size of images that a config names, divided by 3.5."""
    if isinstance(value, dict):
        return type(value)({key: _shrunk(inner) for key, inner in value.items()})
    if isinstance(value, list | tuple):
        return type(value)(_shrunk(inner) for inner in value)
    return {224: 64, 448: 128}.get(value, value) if isinstance(value, int) else value


def _small(cfg: Config) -> None:
    """Images of 64x64, random weights and a backbone of a few layers with 4x4 tokens."""
    for name in ('train', 'val', 'test'):
        cfg[f'{name}_dataloader'] = _shrunk(cfg[f'{name}_dataloader'])
    model = _shrunk(cfg.model)
    backbone = model.backbone
    if backbone.type == 'mmocl.SlotBackbone':
        trained = Config.fromfile(FOLDER / 'slots_voc.py')
        _small(trained)
        backbone.model, backbone.checkpoint = trained.model, None
    elif backbone.type == 'MapBackbone':
        backbone.backbone = {
            **backbone.backbone, **MMSEG_VIT, 'out_indices': 0, 'init_cfg': None
        }  # fmt: skip
    elif backbone.type.endswith('TimmBackbone'):
        model.backbone = {**VIT, 'output': backbone.get('output', 'tokens')}
    head = model.get('decode_head')
    if head is None:
        model.decoder.grid = (4, 4)
    elif head.in_channels == 384:
        head.in_channels = 64
        if 'slot_head' in head:
            head.slot_head.initializer.num_slots = 6  # the images have 16 tokens
        if head.type == 'FCNHead':
            head.channels = 64
        elif 'decoder' in head:
            head.decoder.grid = (4, 4)
    cfg.model = model


def _short(cfg: Config, work_dir: Path) -> None:
    """A step with validation, by images one by one."""
    for name in ('train', 'val', 'test'):
        cfg[f'{name}_dataloader'].update(batch_size=2, num_workers=0, persistent_workers=False)
        cfg[f'{name}_dataloader'].dataset.indices = 2
    for evaluator in (cfg.val_evaluator, cfg.test_evaluator):
        evaluator.collect_device = 'cpu'
    cfg.train_cfg.update(max_iters=1, val_interval=1)
    cfg.default_hooks.checkpoint.interval = 1
    cfg.param_scheduler = None
    cfg.launcher = 'none'
    cfg.work_dir = str(work_dir)
    cfg.experiment_name = '-'.join(work_dir.parts[-2:])
    cfg.visualizer.name = cfg.experiment_name


def _train_and_resume(cfg: Config, work_dir: Path) -> Runner:
    _short(cfg, work_dir / 'first')
    first = Runner.from_cfg(cfg)
    before = {name: value.clone() for name, value in first.model.named_parameters()}
    first.train()
    learned = {k: v for k, v in first.model.named_parameters() if v.requires_grad}
    assert any(not torch.equal(value, before[name]) for name, value in learned.items())
    _short(cfg, work_dir / 'second')
    cfg.resume, cfg.load_from = True, str(work_dir / 'first' / 'iter_1.pth')
    cfg.train_cfg.max_iters = 2
    second = Runner.from_cfg(cfg)
    second.train()
    assert second.iter == 2
    return second


def test_every_config_is_known_here() -> None:
    assert sorted(SCORES) == CONFIGS


@pytest.mark.parametrize('name', CONFIGS)
def test_config_survives_a_dump(name, tmp_path) -> None:
    cfg = Config.fromfile(FOLDER / name)
    cfg.dump(tmp_path / 'dumped.py')
    assert Config.fromfile(tmp_path / 'dumped.py').to_dict() == cfg.to_dict()


@pytest.mark.parametrize('name', CONFIGS)
def test_config_trains_validates_resumes_and_tests(name, tmp_path, tiny_data, monkeypatch) -> None:
    monkeypatch.setenv('MMOCL_DATA', str(tiny_data))
    cfg = Config.fromfile(FOLDER / name)
    _small(cfg)
    assert SCORES[name] in _train_and_resume(cfg, tmp_path).test()


@pytest.fixture(scope='session')
def vit_weights(weights_root) -> Path:
    return weights_root / 'vit_small_patch14_dinov2_imgfocus_fp16.pth'


@pytest.mark.parametrize('name', REAL)
def test_config_runs_on_real_images_and_weights(
    name, tmp_path, data_root, vit_weights, monkeypatch
) -> None:
    monkeypatch.setenv('MMOCL_DATA', str(data_root))
    monkeypatch.setenv('MMOCL_WEIGHTS', str(vit_weights.parent))
    cfg = Config.fromfile(FOLDER / name)
    if name == 'slot_autoencoder_vit_voc.py':
        path = tmp_path / 'vit.pth'
        torch.save(convert(load_state_dict(str(vit_weights), weights_only=True)), path)
        cfg.model.backbone.backbone.init_cfg.checkpoint = str(path)
    trained = _train_and_resume(cfg, tmp_path).model.state_dict()
    _short(cfg, tmp_path / 'test')
    cfg.resume, cfg.load_from = False, str(tmp_path / 'second' / 'iter_2.pth')
    runner = Runner.from_cfg(cfg)
    assert SCORES[name] in runner.test()
    tested = runner.model.state_dict()
    torch.testing.assert_close(tested, trained)
    # The backbone is still the one that was given.
    true = load_state_dict(str(vit_weights), weights_only=True)['pos_embed'].float()
    (position,) = [value for key, value in tested.items() if key.endswith('pos_embed')]
    torch.testing.assert_close(position, true)


def test_a_vit_of_timm_gives_the_same_maps_in_mmsegmentation(vit_weights) -> None:
    timm = MODELS.build(
        dict(
            type='TimmBackbone',
            model_name='vit_small_patch14_dinov2.lvd142m',
            checkpoint=str(vit_weights),
            position_resize='plain',
            norm=True,
            output='maps',
        )
    )
    own = Config.fromfile(FOLDER / 'slot_autoencoder_vit_voc.py').model.backbone.backbone
    mmseg = MODELS.build({**own, 'init_cfg': None})
    weights = convert(load_state_dict(str(vit_weights), weights_only=True))
    mmseg.load_state_dict(weights)
    mmseg.eval()
    images = torch.randn(1, 3, 112, 140)
    with torch.no_grad():
        torch.testing.assert_close(mmseg(images)[-1], timm(images)[-1], atol=1e-4, rtol=1e-4)
    with pytest.raises(ValueError, match=r"no place for 1 parameters, such as \['reg_token'\]"):
        convert({'reg_token': torch.zeros(1)})
