import pytest
import torch
from mmengine.model import BaseModule
from torch import nn

from mmocl.models.backbones import TimmBackbone

VIT = 'vit_tiny_patch16_224'


@pytest.mark.parametrize(('position_resize', 'cosine'), [('plain', 0.9999), ('timm', 0.99)])
def test_real_checkpoint_gives_the_golden_tokens(weights_root, position_resize, cosine) -> None:
    import numpy as np

    golden = np.load(weights_root / 'golden_imgfocus_224.npz')
    backbone = TimmBackbone(
        'vit_small_patch14_dinov2.lvd142m',
        checkpoint=str(weights_root / 'vit_small_patch14_dinov2_imgfocus_fp16.pth'),
        norm=True,
        position_resize=position_resize,
    )
    features = backbone(torch.from_numpy(golden['input']))
    assert features.grid == (16, 16)
    want = torch.from_numpy(golden['tokens'])[:, 1:]
    got = nn.functional.cosine_similarity(features.tokens.flatten(), want.flatten(), dim=0)
    assert got >= cosine


def test_frozen_means_no_gradient_and_evaluation_mode() -> None:
    backbone = TimmBackbone(VIT).train()
    assert not backbone.model.training
    assert not backbone(torch.randn(1, 3, 32, 48)).tokens.requires_grad
    free = TimmBackbone(VIT, frozen=False).train()
    assert free.model.training
    assert free(torch.randn(1, 3, 32, 48)).tokens.requires_grad


def test_any_multiple_of_the_patch_and_nothing_else() -> None:
    backbone = TimmBackbone(VIT)
    features = backbone(torch.randn(1, 3, 32, 48))
    assert features.grid == (2, 3)
    assert features.tokens.shape == (1, 6, 192)
    with pytest.raises(
        ValueError, match='40x48, but their sides must be multiples of the patch 16x16'
    ):
        backbone(torch.randn(1, 3, 40, 48))


def test_blocks_and_cnn_stages() -> None:
    image = torch.randn(1, 3, 64, 64)
    torch.manual_seed(0)
    first = TimmBackbone(VIT, block=0)
    assert first.out_channels == 192
    assert not torch.allclose(first(image).tokens, TimmBackbone(VIT, block=5)(image).tokens)
    cnn = TimmBackbone('resnet18', block=-2, output='maps')
    (maps,) = cnn(image)
    assert maps.shape == (1, 256, 4, 4)
    assert cnn.out_channels == 256
    both = TimmBackbone(VIT, block=(0, 5))(image)
    assert both.tokens is both.layers[1]
    assert [layer.shape for layer in both.layers] == [first(image).tokens.shape] * 2
    assert first(image).layers is None
    assert len(TimmBackbone(VIT, block=(0, 5), output='maps')(image)) == 2
    with pytest.raises(ValueError, match=r'Blocks must rise, got block=\(5, 0\)'):
        TimmBackbone(VIT, block=(5, 0))
    with pytest.raises(ValueError, match='has 12 blocks'):
        TimmBackbone(VIT, block=12)


def test_a_checkpoint_of_another_architecture_is_refused(tmp_path) -> None:
    weights = TimmBackbone(VIT, norm=True).model.state_dict()
    weights['extra'] = weights.pop('cls_token')
    weights['norm.weight'] = torch.zeros(7)
    path = str(tmp_path / 'other.pth')
    torch.save(weights, path)
    with pytest.raises(ValueError, match='does not fit') as error:
        TimmBackbone(VIT, checkpoint=path)
    for part in ('1 missing keys: cls_token', '1 unexpected keys: extra', 'norm.weight is (7,)'):
        assert part in str(error.value)
    with pytest.raises(FileNotFoundError, match='no checkpoint at'):
        TimmBackbone(VIT, checkpoint=str(tmp_path / 'absent.pth'))


def test_checkpoint_loads_without_pickled_code(tmp_path) -> None:
    backbone = TimmBackbone(VIT, norm=True)
    path = str(tmp_path / 'good.pth')
    torch.save(backbone.model.state_dict(), path)
    image = torch.randn(1, 3, 32, 32)
    torch.testing.assert_close(
        TimmBackbone(VIT, norm=True, checkpoint=path)(image).tokens, backbone(image).tokens
    )
    torch.save({'model': nn.Linear(1, 1)}, path)
    with pytest.raises(ValueError, match=r"good\.pth' was not loaded: it asks for torch\.nn"):
        TimmBackbone(VIT, checkpoint=path)


def test_plain_resize_equals_no_resize_at_the_native_size() -> None:
    plain = TimmBackbone('vit_tiny_patch16_224', position_resize='plain')
    timms = TimmBackbone('vit_tiny_patch16_224')
    timms.load_state_dict(plain.state_dict())
    image = torch.randn(1, 3, 224, 224)
    torch.testing.assert_close(plain(image).tokens, timms(image).tokens, rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match='resnet18 is a ResNet'):
        TimmBackbone('resnet18', position_resize='plain')


@pytest.mark.parametrize(('name', 'norm'), [(VIT, False), (VIT, True), ('resnet18', False)])
def test_every_free_parameter_gets_a_gradient(name, norm) -> None:
    """DDP would wait for the others."""
    backbone = TimmBackbone(name, block=1, norm=norm, frozen=False)
    backbone(torch.randn(2, 3, 32, 32)).tokens.square().sum().backward()
    assert all(p.grad is not None for p in backbone.parameters())


def test_the_start_of_a_training_keeps_the_weights() -> None:
    """MMEngine's Runner calls ``init_weights`` of the model, which goes down to all parts."""

    class Model(BaseModule):
        def __init__(self) -> None:
            super().__init__()
            self.backbone = TimmBackbone(VIT)

    model = Model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.init_weights()
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0, msg=name)
