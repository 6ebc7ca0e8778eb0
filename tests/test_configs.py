"""Every shipped config is loaded, dumped, reloaded, built, trained a step and evaluated."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from mmocl.models.decoders import SpatialBroadcastDecoder
from mmocl.models.slot_heads import SlotAttention
from mmocl.registry import MODELS

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = sorted(
    str(path.relative_to(ROOT))
    for path in (ROOT / 'configs').glob('*/*.py')
    if path.parent.name != '_base_'
)


@pytest.fixture(autouse=True)
def _tiny_data(tiny_data, monkeypatch) -> None:
    monkeypatch.setenv('MMOCL_DATA', str(tiny_data))


def test_there_are_configs() -> None:
    assert len(CONFIGS) >= 5
    assert 'configs/psa/psa_dino_coco.py' in CONFIGS


@pytest.mark.parametrize('config', CONFIGS)
def test_config_runs(config, tmp_path) -> None:
    cfg = Config.fromfile(ROOT / config)
    cfg.dump(tmp_path / 'dumped.py')
    cfg = Config.fromfile(tmp_path / 'dumped.py')
    assert cfg.to_dict() == Config.fromfile(ROOT / config).to_dict()

    if 'pretrained' in cfg.model.backbone:
        cfg.model.backbone.pretrained = False
    for name in ('train', 'val', 'test'):
        loader = cfg[f'{name}_dataloader']
        loader.update(batch_size=2, num_workers=0, persistent_workers=False)
        if 'num_images' in loader.dataset:
            loader.dataset.num_images = 4
    cfg.train_cfg.update(max_iters=1, val_interval=1)
    cfg.param_scheduler = None
    cfg.default_hooks.checkpoint = None
    cfg.work_dir = str(tmp_path)
    cfg.experiment_name = tmp_path.name
    runner = Runner.from_cfg(cfg)
    runner.train()
    metrics = runner.test()
    assert metrics['ocl/num_images'] == 4
    prefix = 'ocl/' if runner.model.decoder.has_masks else 'ocl/attn_'
    assert -1 <= metrics[f'{prefix}fg_ari'] <= 1
    assert 0 < metrics[f'{prefix}mbo_i'] <= 1
    assert list(tmp_path.glob('*/vis_data/vis_image/val_0*.png'))


def test_a_user_can_swap_head_and_decoder(tmp_path) -> None:
    path = tmp_path / 'mine.py'
    path.write_text(f"""
_base_ = ['{ROOT / 'configs/psa/psa_dino_coco.py'}']
model = dict(
    backbone=dict(model_name='vit_tiny_patch16_224', pretrained=False),
    slot_head=dict(
        _delete_=True,
        type='SlotAttention',
        slot_dim=32,
        gradient='bilevel',
        initializer=dict(type='LearnedSlots', num_slots=5),
    ),
    decoder=dict(
        _delete_=True,
        type='SpatialBroadcastDecoder',
        channels=8,
        broadcast_size=(14, 14),
        strides=(2, 2, 2, 2),
    ),
    target=dict(type='PixelTarget'),
)
""")
    model = MODELS.build(Config.fromfile(path).model)
    assert isinstance(model.slot_head, SlotAttention)
    assert isinstance(model.decoder, SpatialBroadcastDecoder)
    assert model.loss(torch.randn(1, 3, 224, 224))['loss_reconstruction'] > 0
    assert model.slot_head.token_dim == 192
