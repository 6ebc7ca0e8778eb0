"""Trained models of slots inside segmentors of mmsegmentation."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.model import BaseModel
from mmengine.registry import MODELS as ROOT
from mmengine.registry import DefaultScope
from mmengine.structures import PixelData
from torch import nn

from mmocl.models import SlotAutoencoder
from mmocl.models.backbones import SlotBackbone
from mmocl.models.layers import map_features
from mmocl.models.necks import SlotNeck
from mmocl.registry import MODELS

HEAD = {
    'type': 'SlotAttention',
    'slot_dim': 12,
    'initializer': {'type': 'LearnedSlots', 'num_slots': 3},
}
CONFIG = {
    'type': 'SlotAutoencoder',
    'backbone': {'type': 'ConvEncoder', 'channels': 8, 'strides': (2, 2)},
    'slot_head': HEAD,
    'decoder': {'type': 'MLPDecoder', 'grid': (4, 4), 'hidden_channels': 8},
    'target': {'type': 'PixelTarget', 'patch_size': 4},
    'losses': [{'type': 'ReconstructionLoss'}],
}
SLATE = {
    **CONFIG,
    'tokenizer': {'type': 'DiscreteVAE', 'vocab_size': 6, 'channels': 8},
    'backbone': {'type': 'TokenBackbone', 'channels': 16},
    'decoder': {
        'type': 'TransformerDecoder',
        'grid': (4, 4),
        'channels': 16,
        'num_layers': 1,
        'num_heads': 2,
    },
    'target': {'type': 'TokenTarget'},
    'losses': [{'type': 'TokenCrossEntropyLoss'}],
}
SETS = {
    **{key: CONFIG[key] for key in ('backbone', 'slot_head')},
    'type': 'SlotSetPredictor',
    'decoder': {
        'type': 'PropertyDecoder',
        'properties': [{'name': 'scale', 'size': 1, 'kind': 'value'}],
    },
    'losses': [{'type': 'SetPredictionLoss'}],
}
ALL = ('tokens', 'slots', 'attn')
IMAGES = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def trained(tmp_path) -> tuple[SlotAutoencoder, str]:
    model = MODELS.build(CONFIG).eval()
    path = str(tmp_path / 'model.pth')
    torch.save({'state_dict': model.state_dict(), 'meta': {}}, path)
    return model, path


@pytest.mark.parametrize('given', ['dict', 'file', 'module'])
def test_the_map_is_what_the_model_finds(given, trained, tmp_path) -> None:
    model, checkpoint = trained
    if given == 'file':
        Config({'model': CONFIG}).dump(tmp_path / 'config.py')
    config = {'dict': CONFIG, 'file': str(tmp_path / 'config.py'), 'module': model}[given]
    backbone = SlotBackbone(config, None if given == 'module' else checkpoint, outputs=ALL)
    assert backbone.out_channels == 8 + 12 + 3
    # MMEngine's Runner does that before training.
    backbone.init_weights()
    (maps,) = backbone.train()(IMAGES)
    assert maps.shape == (2, 23, 4, 4)
    features = model.extract(IMAGES)
    found = model.encode(IMAGES)
    torch.testing.assert_close(maps[:, :8, 1, 2], features.tokens[:, 6])
    torch.testing.assert_close(maps[:, 20:].flatten(2), found.attn)
    mixed = sum(found.attn[:, k, 6, None] * found.slots[:, k] for k in range(3))
    torch.testing.assert_close(maps[:, 8:20, 1, 2], mixed)
    (swapped,) = SlotBackbone(model, outputs=('attn', 'tokens'))(IMAGES)
    torch.testing.assert_close(swapped, torch.cat([maps[:, 20:], maps[:, :8]], dim=1))


@pytest.mark.parametrize('config', [CONFIG, SLATE, SETS], ids=['pixels', 'slate', 'sets'])
def test_frozen_means_no_gradient_and_evaluation_mode(config) -> None:
    backbone = SlotBackbone(config).train()
    assert not any(module.training for part in backbone.children() for module in part.modules())
    assert not any(parameter.requires_grad for parameter in backbone.parameters())
    (maps,) = backbone(IMAGES)
    assert maps.shape == (2, 12, 4, 4)
    assert not maps.requires_grad


@pytest.mark.parametrize('outputs', [('tokens',), ('slots',), ALL], ids=len)
@pytest.mark.parametrize('config', [CONFIG, SLATE, SETS], ids=['pixels', 'slate', 'sets'])
@pytest.mark.parametrize('gradient', ['unrolled', 'implicit', 'bilevel'])
def test_every_free_parameter_gets_a_gradient(config, outputs, gradient) -> None:
    """DDP would wait for the others."""
    config = {**config, 'slot_head': {**HEAD, 'gradient': gradient}}
    backbone = SlotBackbone(config, frozen=False, outputs=outputs).train()
    assert backbone.backbone.training
    (maps,) = backbone(IMAGES)
    assert maps.shape[1] == backbone.out_channels
    (maps * torch.randn_like(maps)).sum().backward()
    free = {name: p for name, p in backbone.named_parameters() if p.requires_grad}
    assert free
    assert all(parameter.grad is not None for parameter in free.values())
    assert not any(name.startswith('tokenizer') for name in free)
    assert not hasattr(backbone, 'decoder')


def test_weights_that_nothing_brought_are_drawn(trained) -> None:
    config = {**CONFIG, 'backbone': {**CONFIG['backbone'], 'init_cfg': {
        'type': 'Constant', 'layer': 'Conv2d', 'val': 0.5}}}  # fmt: skip
    backbone = SlotBackbone(config)
    backbone.init_weights()
    assert (backbone.backbone.layers[0].weight == 0.5).all()
    backbone = SlotBackbone(config, trained[1])
    backbone.init_weights()
    want = trained[0].backbone.layers[0].weight
    torch.testing.assert_close(backbone.backbone.layers[0].weight, want.detach())


def test_the_checkpoint_brings_the_weights_of_the_backbone_too(tmp_path) -> None:
    timm = {'type': 'TimmBackbone', 'model_name': 'resnet18', 'block': 1, 'output': 'tokens'}
    config = {**CONFIG, 'backbone': timm}
    model = MODELS.build(config)
    path = str(tmp_path / 'model.pth')
    torch.save(model.state_dict(), path)
    wants = {**config, 'backbone': {**timm, 'checkpoint': str(tmp_path / 'absent.pth')}}
    (maps,) = SlotBackbone(wants, path, outputs=('tokens',))(IMAGES)
    torch.testing.assert_close(maps.flatten(2).transpose(1, 2), model.extract(IMAGES).tokens)
    with pytest.raises(FileNotFoundError, match=r'absent.pth'):
        SlotBackbone(wants)


def test_a_checkpoint_of_another_model_is_refused(trained, tmp_path) -> None:
    wide = {**CONFIG, 'slot_head': {**HEAD, 'mlp_channels': 7}}
    with pytest.raises(ValueError, match=r'model.pth does not fit .* SlotBackbone: .*slot_head'):
        SlotBackbone(wide, trained[1])
    with pytest.raises(FileNotFoundError, match=r'No checkpoint at .*absent.pth'):
        SlotBackbone(CONFIG, str(tmp_path / 'absent.pth'))


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (
            {'outputs': ()},
            r"outputs must be some of 'tokens', 'slots', 'attn', each once, got \(\)",
        ),
        ({'outputs': ('slots', 'masks')}, r"each once, got \('slots', 'masks'\)"),
        ({'outputs': ('slots', 'slots')}, 'each once'),
        ({'outputs': 'slots'}, "each once, got 'slots'"),
        ({'outputs': ('attn',), 'frozen': False}, r"add 'slots' or set frozen=True"),
        ({'model': nn.Linear(1, 1)}, 'with a backbone and a slot_head, .* got Linear'),
    ],
)
def test_settings_without_meaning_are_refused(changes, message) -> None:
    with pytest.raises(ValueError, match=message):
        SlotBackbone(**({'model': CONFIG} | changes))


def test_a_config_needs_a_model(tmp_path) -> None:
    (tmp_path / 'empty.py').write_text('a = 1\n')
    with pytest.raises(ValueError, match=r'empty.py. has no model'):
        SlotBackbone(str(tmp_path / 'empty.py'))


def _segmentor(**parts) -> BaseModel:
    """A segmentor of mmsegmentation, built as in a run of it."""
    config = {
        'type': 'EncoderDecoder',
        'data_preprocessor': {'type': 'SegDataPreProcessor', 'size': (16, 16)},
        'decode_head': {
            'type': 'FCNHead',
            'in_channels': 12,
            'in_index': -1,
            'channels': 4,
            'num_convs': 1,
            'num_classes': 5,
            'norm_cfg': {'type': 'BN'},
        },
        'train_cfg': {},
        'test_cfg': {'mode': 'whole'},
    }
    with DefaultScope.overwrite_default_scope('mmseg'):
        return ROOT.build(ConfigDict(config | parts))


def _samples() -> list:
    from mmseg.structures import SegDataSample

    meta = {'img_shape': (16, 16), 'ori_shape': (20, 24), 'pad_shape': (16, 16)}
    samples = [SegDataSample(metainfo=meta) for _ in IMAGES]
    for sample in samples:
        sample.gt_sem_seg = PixelData(data=torch.randint(5, (1, 16, 16)))
    return samples


@pytest.mark.parametrize('frozen', [True, False])
def test_segmentor_with_slots_as_backbone(frozen, trained) -> None:
    model, checkpoint = trained
    backbone = {
        'type': 'mmocl.SlotBackbone',
        'model': CONFIG,
        'checkpoint': checkpoint,
        'frozen': frozen,
    }
    segmentor = _segmentor(backbone=backbone).train()
    segmentor.init_weights()
    want = model.state_dict()
    for name, value in segmentor.backbone.state_dict().items():
        torch.testing.assert_close(value, want[name], rtol=0, atol=0)
    _train_and_predict(segmentor)


def test_segmentor_with_slots_as_neck() -> None:
    segmentor = _segmentor(
        backbone={
            'type': 'ResNetV1c',
            'depth': 18,
            'base_channels': 8,
            'strides': (1, 2, 1, 1),
            'norm_cfg': {'type': 'BN'},
        },
        neck={'type': 'mmocl.SlotNeck', 'slot_head': HEAD, 'in_channels': 64},
    ).train()
    segmentor.init_weights()
    maps = segmentor.extract_feat(IMAGES)
    assert len(maps) == 5
    assert maps[-1].shape == (2, 12, *maps[-2].shape[2:])
    found = segmentor.neck.slot_head(map_features(maps[-2]))
    want = torch.einsum('bkn,bkd->bdn', found.attn, found.slots)
    torch.testing.assert_close(maps[-1].flatten(2), want)
    _train_and_predict(segmentor)


def _train_and_predict(segmentor: BaseModel) -> None:
    samples = _samples()
    loss, _ = segmentor.parse_losses(segmentor.loss(IMAGES, samples))
    loss.backward()
    for name, parameter in segmentor.named_parameters():
        assert not parameter.requires_grad or parameter.grad is not None, name
    (sample, _) = segmentor.eval().predict(IMAGES, samples)
    assert sample.pred_sem_seg.data.shape == (1, 20, 24)


def test_a_neck_without_its_map_says_so() -> None:
    neck = SlotNeck(HEAD, in_channels=8, in_index=2)
    with pytest.raises(
        ValueError, match=r'in_index of SlotNeck is 2, but the backbone gives 1 map'
    ):
        neck((torch.rand(1, 8, 4, 4),))


def test_a_shipped_config_is_a_backbone() -> None:
    path = Path(__file__).parents[2] / 'configs/boqsa/boqsa_conv_sprites.py'
    backbone = SlotBackbone(str(path))
    (maps,) = backbone(torch.rand(1, 3, 64, 64))
    assert maps.shape[1] == backbone.out_channels == backbone.slot_head.slot_dim
