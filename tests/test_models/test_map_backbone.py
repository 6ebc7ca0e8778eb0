"""Backbones of mmsegmentation inside models of slots."""

import subprocess
import sys

import pytest
import torch
from mmengine.registry import DefaultScope
from torch import nn

from mmocl.models import SlotAutoencoder
from mmocl.models.backbones import ConvEncoder, MapBackbone, TimmBackbone
from mmocl.registry import MODELS
from mmocl.structures import Features

RESNET = {
    'type': 'mmseg.ResNetV1c',
    'depth': 18,
    'stem_channels': 8,
    'base_channels': 8,
    'norm_cfg': {'type': 'BN'},
}
BACKBONES = {
    'resnet': (RESNET, 64, 32),
    'mit': (
        {
            'type': 'mmseg.MixVisionTransformer',
            'embed_dims': 4,
            'num_layers': [1, 1, 1, 1],
            'num_heads': [1, 2, 4, 8],
        },
        32,
        32,
    ),
    # Its positions are those of 224x224 images.
    'vit': (
        {
            'type': 'mmseg.VisionTransformer',
            'embed_dims': 16,
            'num_layers': 2,
            'num_heads': 2,
            'norm_cfg': {'type': 'LN'},
        },
        16,
        16,
    ),
    'swin': (
        {
            'type': 'mmseg.SwinTransformer',
            'embed_dims': 6,
            'depths': (1, 1, 1, 1),
            'num_heads': (1, 2, 4, 8),
            'out_indices': (3,),
        },
        48,
        32,
    ),
    # It builds its layers by names of mmsegmentation without a prefix.
    'unet': (
        {
            'type': 'mmseg.UNet',
            'base_channels': 4,
            'num_stages': 2,
            'strides': (1, 1),
            'enc_num_convs': (1, 1),
            'dec_num_convs': (1,),
            'downsamples': (True,),
            'enc_dilations': (1, 1),
            'dec_dilations': (1,),
        },
        4,
        1,
    ),
}
CASES = pytest.mark.parametrize(
    ('backbone', 'channels', 'stride'), BACKBONES.values(), ids=BACKBONES
)
IMAGES = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))


def _model(backbone, grid: tuple[int, int] | None = None) -> SlotAutoencoder:
    """A model that paints the images, or tokens of the grid if one is given."""
    decoder = {'type': 'MLPDecoder', 'grid': grid, 'hidden_channels': 8}
    if grid is None:
        decoder = {
            'type': 'SpatialBroadcastDecoder',
            'channels': 4,
            'broadcast_size': (16, 24),
            'strides': (2, 2),
        }
    return MODELS.build(
        {
            'type': 'SlotAutoencoder',
            'backbone': backbone,
            'slot_head': {
                'type': 'SlotAttention',
                'slot_dim': 8,
                'initializer': {'type': 'LearnedSlots', 'num_slots': 2},
            },
            'decoder': decoder,
            'target': {'type': 'FeatureTarget' if grid else 'PixelTarget'},
            'losses': [{'type': 'ReconstructionLoss'}],
        }
    )


@CASES
def test_a_backbone_of_mmseg_trains_with_the_slots(backbone, channels, stride) -> None:
    model = _model(backbone)
    model.init_weights()
    assert isinstance(model.backbone, MapBackbone)
    assert model.backbone.out_channels == channels
    features = model.extract(IMAGES)
    assert features.grid == (64 // stride, 96 // stride)
    assert features.tokens.shape == (2, features.grid[0] * features.grid[1], channels)
    loss, _ = model.parse_losses(model.loss(IMAGES))
    loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name


@CASES
def test_a_frozen_backbone_of_mmseg_gives_the_target(backbone, channels, stride) -> None:
    frozen = {'type': 'MapBackbone', 'backbone': backbone, 'frozen': True}
    model = _model(frozen, (64 // stride, 96 // stride)).train()
    model.init_weights()
    before = {name: value.clone() for name, value in model.backbone.state_dict().items()}
    loss, _ = model.parse_losses(model.loss(IMAGES))
    loss.backward()
    assert not any(p.requires_grad for p in model.backbone.parameters())
    assert not any(module.training for module in model.backbone.backbone.modules())
    # Statistics of batch norms included.
    torch.testing.assert_close(dict(model.backbone.state_dict()), before, rtol=0, atol=0)
    for part in (model.slot_head, model.decoder):
        assert all(parameter.grad is not None for parameter in part.parameters())


def test_tokens_are_the_map_row_by_row() -> None:
    backbone = MapBackbone(RESNET, level=1).eval()
    maps = backbone.backbone(IMAGES)
    features = backbone(IMAGES)
    assert features.grid == maps[1].shape[2:]
    torch.testing.assert_close(features.tokens[:, 13], maps[1][:, :, 1, 1])
    backbone.output = 'maps'
    assert [one.shape for one in backbone(IMAGES)] == [one.shape for one in maps]
    single = MapBackbone(nn.Conv2d(3, 5, 4, stride=4))
    assert single.out_channels == 5
    assert single(IMAGES).grid == (16, 24)


def test_set_prediction_takes_maps_too() -> None:
    properties = [{'name': 'position', 'size': 2, 'kind': 'coordinate'}]
    model = MODELS.build(
        {
            'type': 'SlotSetPredictor',
            'backbone': RESNET,
            'slot_head': {
                'type': 'SlotAttention',
                'initializer': {'type': 'LearnedSlots', 'num_slots': 2},
            },
            'decoder': {'type': 'PropertyDecoder', 'properties': properties},
            'losses': [{'type': 'SetPredictionLoss'}],
        }
    )
    assert model.encode(IMAGES).slots.shape == (2, 2, 64)


class _Noisy(nn.Module):
    """Part of it in evaluation mode, and random numbers in every forward."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 4, stride=4)
        self.norm = nn.BatchNorm2d(4)
        self.still = nn.BatchNorm2d(4).eval()

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        x = self.still(self.norm(self.conv(images)))
        return [x + torch.randn_like(x)]


def test_finding_the_channels_leaves_no_trace() -> None:
    module = _Noisy()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    random = torch.get_rng_state()
    assert MapBackbone(module).out_channels == 4
    assert torch.equal(torch.get_rng_state(), random)
    assert (module.training, module.norm.training, module.still.training) == (True, True, False)
    torch.testing.assert_close(dict(module.state_dict()), before, rtol=0, atol=0)


def test_channels_can_be_given() -> None:
    # It runs on images of 32x32 only.
    module = nn.Sequential(
        nn.Flatten(), nn.Linear(3072, 64, bias=False), nn.Unflatten(1, (4, 4, 4))
    )
    with pytest.raises(ValueError, match=r'Sequential does not run on .* 64x64, .* out_channels'):
        MapBackbone(module)
    backbone = MapBackbone(module, out_channels=4)
    assert backbone(IMAGES[:, :, :32, :32]).tokens.shape == (2, 16, 4)


@pytest.mark.parametrize(
    ('backbone', 'level', 'message'),
    [
        (
            RESNET,
            4,
            r'level of the MapBackbone around ResNetV1c is 4, but the backbone gives 4 map\(s\)',
        ),
        (
            RESNET,
            -5,
            r'level of the MapBackbone around ResNetV1c is -5, but the backbone gives 4 map\(s\)',
        ),
        (nn.Conv2d(3, 4, 4), 1, r'around Conv2d is 1, but the backbone gives 1 map\(s\)'),
        (nn.Flatten(), 0, r'gives maps \(B, C, h, w\), but Flatten gives a tensor of 2 axes'),
        (ConvEncoder(4, (2,)), 0, 'but ConvEncoder gives Features'),
        (
            BACKBONES['vit'][0] | {'output_cls_token': True},
            0,
            r'but VisionTransformer gives tuple\(list\(a tensor of 4 axes, a tensor of 2 axes\)',
        ),
    ],
)
def test_what_gives_no_such_map_is_refused(backbone, level, message) -> None:
    with pytest.raises(ValueError, match=message):
        MapBackbone(backbone, level)


def test_outputs_are_named() -> None:
    with pytest.raises(ValueError, match="output must be 'tokens' or 'maps', got 'map'"):
        MapBackbone(RESNET, output='map')


@pytest.mark.parametrize('frozen', [False, True])
def test_pretrained_weights_are_loaded_when_training_begins(frozen, tmp_path) -> None:
    weights = MODELS.build(RESNET).state_dict()
    weights = {name: torch.full_like(value, 0.5) for name, value in weights.items()}
    torch.save(weights, tmp_path / 'resnet.pth')
    init = {'type': 'Pretrained', 'checkpoint': str(tmp_path / 'resnet.pth')}
    backbone = MapBackbone({**RESNET, 'init_cfg': init}, frozen=frozen)
    model = _model(backbone)
    model.init_weights()
    model.train()
    for name, value in backbone.backbone.state_dict().items():
        assert (value == weights[name]).all(), name
    assert all(p.requires_grad is not frozen for p in backbone.parameters())
    assert backbone.backbone.layer1.training is not frozen


def test_bare_names_of_a_run_of_mmseg() -> None:
    from mmengine.registry import MODELS as ROOT

    bare = {**RESNET, 'type': 'ResNetV1c'}
    config = {'type': 'mmocl.MapBackbone', 'backbone': bare, 'frozen': True, 'output': 'maps'}
    with DefaultScope.overwrite_default_scope('mmseg'):
        backbone = ROOT.build(config)
        assert ROOT.build({**config, 'backbone': RESNET}).out_channels == 64
    assert [one.shape[1] for one in backbone(IMAGES)] == [8, 16, 32, 64]


@pytest.mark.parametrize('backbone', [RESNET, {'type': 'ConvEncoder', 'channels': 8}])
def test_features_of_a_backbone_that_trains_are_no_target(backbone) -> None:
    with pytest.raises(
        ValueError, match=r'model.target, a FeatureTarget, .* model.backbone, a \w+, which is train'
    ):
        _model(backbone, (2, 3))


def test_other_backbones_are_left_as_they_are() -> None:
    assert isinstance(_model({'type': 'ConvEncoder', 'channels': 8}).backbone, ConvEncoder)
    timm = TimmBackbone('resnet18', block=(0, 1))
    features = timm(IMAGES)
    assert isinstance(features, Features)
    assert [layer.shape[2] for layer in features.layers] == [64, 64]


@pytest.mark.parametrize('build', [MODELS.build, _model, MapBackbone, SlotAutoencoder])
def test_without_mmseg_it_is_said_how_to_install_it(build, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, 'mmseg', None)
    message = (
        r'mmseg.ResNetV1c needs mmseg, which could not be imported \(.+\): '
        r"pip install 'mmocl\[segmentation\]'$"
    )
    given = (RESNET, {}, {}, {}, []) if build is SlotAutoencoder else (RESNET,)
    with pytest.raises(ImportError, match=message):
        build(*given)


def test_without_mmseg_everything_else_works() -> None:
    program = """
import sys
sys.modules['mmseg'] = None
import torch
from mmocl.registry import MODELS
model = MODELS.build(dict(
    type='SlotAutoencoder',
    backbone=dict(type='MapBackbone', backbone=torch.nn.Conv2d(3, 8, 4, stride=4)),
    slot_head=dict(
        type='SlotAttention', initializer=dict(type='GaussianSlots', num_slots=2)),
    decoder=dict(
        type='SpatialBroadcastDecoder', channels=4, broadcast_size=(8, 8), strides=(2,)),
    target=dict(type='PixelTarget'),
    losses=[dict(type='ReconstructionLoss')],
))
sum(model.loss(torch.rand(2, 3, 16, 16)).values()).backward()
"""
    subprocess.run([sys.executable, '-c', program], check=True)
