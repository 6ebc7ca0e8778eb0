"""Every shipped config is loaded, dumped, reloaded, built, trained, resumed and evaluated.

Widths, grids and image sizes are those of the config. Of a frozen ViT only the first block runs,
since all blocks have one shape, and two images make a batch.
"""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.runner import BaseLoop, Runner
from torch import nn

from mmocl.evaluation.metrics import ObjectDiscoveryMetric
from mmocl.models.decoders import SpatialBroadcastDecoder
from mmocl.models.slot_heads import SlotAttention
from mmocl.registry import MODELS
from mmocl.structures import MASK_SOURCES

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = sorted(
    str(path.relative_to(ROOT))
    for path in (ROOT / 'configs').glob('*/*.py')
    if path.parent.name != '_base_'
)
# Each config takes one step in its own precision and one in the other.
OTHER_WRAPPER = {'OptimWrapper': 'Bf16OptimWrapper', 'Bf16OptimWrapper': 'OptimWrapper'}


@pytest.fixture(autouse=True)
def _tiny_data(tiny_data, monkeypatch) -> None:
    monkeypatch.setenv('MMOCL_DATA', str(tiny_data))
    monkeypatch.setenv('MMOCL_FOLDER', str(tiny_data / 'coco'))


def test_there_are_configs() -> None:
    # A small and a paper-scale one of every system.
    systems = {
        'slot_attention/slot_attention': ('conv_sprites', 'clevr6'),
        'slot_attention/slot_attention_noa': ('conv_sprites', 'clevr6'),
        'slot_attention/ae': ('conv_sprites', 'clevr6'),
        'isa/isa': ('conv_sprites', 'clevr6'),
        'boqsa/boqsa': ('conv_sprites', 'shapestacks', 'clevrtex', 'flowers17_small'),
        'boqsa/boqsa_transformer': ('sprites', 'shapestacks'),
        'slate/slate': ('sprites', 'coco'),
        'smm/smm_slate': ('sprites', 'shapestacks'),
        'psa/psa_slate': ('sprites', 'clevr6'),
        'dinosaur/dinosaur_mlp': ('small', 'coco', 'coco_panoptic', 'voc'),
        'dinosaur/dinosaur_transformer': ('small', 'coco', 'voc'),
        'psa/psa_dino': ('mlp_small', 'coco', 'voc', 'folder'),
        'psa/psa_dino_transformer': ('small', 'coco', 'voc'),
        'covloss/covloss': ('conv_sprites', 'multi_dsprites', 'dinosaur_1024_small'),
        'covloss/cosine': ('conv_sprites', 'multi_dsprites', 'dinosaur_1024_small'),
        'covloss/covloss_dinosaur': ('coco',),
        'covloss/cosine_dinosaur': ('coco',),
        'smm/smm_set_prediction': ('sprites', 'clevr'),
        'smm/slot_attention_set_prediction': ('sprites', 'clevr'),
        'smm/psa_set_prediction': ('sprites', 'clevr'),
        'psa/psa': ('dgauss_conv_sprites', 'noa_conv_sprites', 'clevr6', 'objects_room'),
    }
    wanted = {f'configs/{name}_{end}.py' for name, ends in systems.items() for end in ends}
    assert wanted <= set(CONFIGS)


@pytest.mark.parametrize('config', CONFIGS)
def test_config_survives_a_dump(config, tmp_path) -> None:
    cfg = Config.fromfile(ROOT / config)
    cfg.dump(tmp_path / 'dumped.py')
    assert Config.fromfile(tmp_path / 'dumped.py').to_dict() == cfg.to_dict()


@pytest.mark.parametrize('config', CONFIGS)
def test_config_trains_resumes_and_evaluates(config, tmp_path, monkeypatch) -> None:
    cfg = _shrunk(Config.fromfile(ROOT / config), tmp_path)
    runner = Runner.from_cfg(cfg)
    model = runner.model
    grads = _finite_grads(model)
    runner.train()
    _check_step(runner, grads, step=1)

    # What the checkpoint does not bring back stays nan.
    for value in model.state_dict().values():
        if value.is_floating_point():
            value.fill_(torch.nan)
    # The same module, since building a ViT takes long.
    monkeypatch.setattr(Runner, 'build_model', lambda self, cfg: model)
    cfg.update(resume=True, experiment_name=f'{tmp_path.name}-resumed')
    cfg.visualizer.name = 'resumed'
    cfg.train_cfg.max_iters = 2
    cfg.default_hooks.checkpoint = None
    cfg.optim_wrapper.type = OTHER_WRAPPER[cfg.optim_wrapper.type]
    runner = Runner.from_cfg(cfg)
    grads.clear()
    runner.train()
    (tmp_path / 'iter_1.pth').unlink()  # pytest keeps its folders, and this one can be large
    _check_step(runner, grads, step=2)

    _check_metrics(runner.val(), runner.val_loop)
    if (cfg.test_dataloader, cfg.test_evaluator) != (cfg.val_dataloader, cfg.val_evaluator):
        _check_metrics(runner.test(), runner.test_loop)
    if 'visualization' in cfg.default_hooks:
        assert list(tmp_path.glob('*/vis_data/vis_image/val_0*.png'))


def _shrunk(cfg: Config, work_dir: Path) -> Config:
    """The config for one step on tiny data without weights from outside."""
    _drop_weights(cfg.model)
    if 'vit_' in cfg.model.backbone.get('model_name', ''):
        cfg.model.backbone.setdefault('block', 0)
    for name in ('train', 'val', 'test'):
        loader = cfg[f'{name}_dataloader']
        loader.update(batch_size=2, num_workers=0, persistent_workers=False)
        if 'num_images' in loader.dataset:
            loader.dataset.num_images = 4
        # Tokens come from the backbone at hand.
        loader.dataset.pop('token_cache', None)
    for scheduler in cfg.param_scheduler:
        # The runner would end them after one step.
        scheduler.setdefault('end', cfg.train_cfg.max_iters)
    # It validates after training, and only then.
    cfg.train_cfg.update(max_iters=1, val_begin=100)
    cfg.default_hooks.checkpoint.interval = 1
    cfg.work_dir = str(work_dir)
    cfg.experiment_name = work_dir.name
    return cfg


def _drop_weights(part: Any) -> None:
    """Leave out the files and downloads of weights, wherever in the model they are named."""
    if isinstance(part, ConfigDict):
        for key, value in (('pretrained', False), ('checkpoint', None)):
            if key in part:
                part[key] = value
    if isinstance(part, dict | list):
        for child in part.values() if isinstance(part, dict) else part:
            _drop_weights(child)


def _finite_grads(model: nn.Module) -> dict[str, bool]:
    """Whether the gradient of a parameter was finite; filled in every backward pass."""
    finite: dict[str, bool] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            parameter.register_post_accumulate_grad_hook(
                lambda p, name=name: finite.update({name: bool(p.grad.isfinite().all())})
            )
    return finite


def _check_step(runner: Runner, grads: dict[str, bool], step: int) -> None:
    """The step with this number was the last one, and everything in it was finite."""
    assert runner.iter == step
    assert math.isfinite(runner.message_hub.get_scalar('train/loss').current())
    assert all(grads.values()), [name for name, finite in grads.items() if not finite]
    # Distributed training stops at a parameter without a gradient.
    trained = {name for name, p in runner.model.named_parameters() if p.requires_grad}
    assert grads.keys() == trained
    states = runner.optim_wrapper.optimizer.state.values()
    assert {int(state['step']) for state in states} == {step}


def _check_metrics(values: dict[str, float], loop: BaseLoop) -> None:
    """Every evaluator has results, and they lie where they can lie."""
    metrics = loop.evaluator.metrics
    prefixes = [metric.prefix for metric in metrics]
    assert len(set(prefixes)) == len(prefixes)
    assert {name.split('/')[0] for name in values} == set(prefixes)
    for name, value in values.items():
        # By definition nan where no image has several objects.
        assert math.isfinite(value) or (math.isnan(value) and name.endswith('_multi')), name
    for metric in metrics:
        if isinstance(metric, ObjectDiscoveryMetric):
            assert values[f'{metric.prefix}/num_images'] == len(loop.dataloader.dataset) > 1
            for source in metric.mask_sources:
                prefix = f'{metric.prefix}/{MASK_SOURCES[source][1]}'
                assert -1 <= values[f'{prefix}fg_ari'] <= 1
                assert 0 < values[f'{prefix}mbo_i'] <= 1


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
