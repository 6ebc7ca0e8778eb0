"""Slot heads inside mmsegmentation's EncoderDecoder, which is really installed here."""

from copy import deepcopy
from itertools import count

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import DefaultScope
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import nn

from mmocl.models.seg_heads.token_mask import token_mask
from mmocl.registry import MODELS

_SCOPES = count()
SIDE, GRID, CHANNELS, CLASSES, SLOTS = 32, (4, 4), 12, 5, 3
SLOT_HEAD = dict(
    type='SlotAttention',
    slot_dim=8,
    num_iters=3,
    initializer=dict(type='LearnedSlots', num_slots=SLOTS),
)
DECODER = dict(type='MLPDecoder', grid=GRID, hidden_channels=16, num_hidden=1)
HEADS = {
    'seg': dict(type='SlotSegHead', decoder=DECODER),
    'semantic': dict(type='SlotSemanticHead', num_classes=CLASSES),
    'semantic with all': dict(
        type='SlotSemanticHead',
        num_classes=CLASSES,
        step_weight=0.5,
        decoder=DECODER,
        loss_decode=[
            dict(type='CrossEntropyLoss', avg_non_ignore=True),
            dict(type='DiceLoss', use_sigmoid=False),
        ],
    ),
}


class Stem(nn.Module):
    """Two maps, the second one of ``CHANNELS`` channels on ``GRID``."""

    def __init__(self, frozen: bool = True) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 4, stride=4)
        self.second = nn.Conv2d(6, CHANNELS, 2, stride=2)
        self.requires_grad_(not frozen)

    def forward(self, images):
        first = self.first(images)
        return first, self.second(first)


def _config(name: str, **changes) -> dict:
    head = {'in_channels': CHANNELS, 'slot_head': SLOT_HEAD, **HEADS[name], **changes}
    return deepcopy({**head, 'type': f'mmocl.{head["type"]}'})


def _segmentor(name: str, frozen: bool = True, mode: str = 'whole', **changes) -> nn.Module:
    """The stock segmentor around a head, built in mmsegmentation's scope."""
    preprocessor = dict(
        type='SegDataPreProcessor', size=(SIDE, SIDE), bgr_to_rgb=True, mean=[127] * 3, std=[64] * 3
    )
    slide = dict(stride=(16, 16), crop_size=(16, 16)) if mode == 'slide' else {}
    return ROOT_MODELS.build(
        dict(
            type='EncoderDecoder',
            data_preprocessor=preprocessor,
            backbone=dict(type=Stem, frozen=frozen),
            decode_head=_config(name, **changes),
            train_cfg=dict(),
            test_cfg=ConfigDict(mode=mode, **slide),
        )
    )


@pytest.fixture(autouse=True)
def _mmseg_scope() -> None:
    DefaultScope.get_instance(f'seg-heads-{next(_SCOPES)}', scope_name='mmseg')


def _batch(size: tuple[int, int] = (SIDE, SIDE), labels: int = CLASSES) -> dict:
    samples = []
    for _ in range(2):
        sample = SegDataSample(metainfo=dict(img_shape=size, ori_shape=(40, 50)))
        truth = torch.randint(labels, (1, *size))
        truth[0, :2] = 255
        sample.gt_sem_seg = PixelData(data=truth)
        samples.append(sample)
    images = [torch.randint(256, (3, *size), dtype=torch.uint8) for _ in range(2)]
    return {'inputs': images, 'data_samples': samples}


def _losses(model: nn.Module, batch: dict) -> dict:
    data = model.data_preprocessor(deepcopy(batch), training=True)
    return model.loss(**data)


def _maps(width: int = 4) -> list[torch.Tensor]:
    return [torch.randn(2, 6, 8, 2 * width), torch.randn(2, CHANNELS, 4, width)]


@pytest.mark.parametrize('name', HEADS)
def test_the_stock_segmentor_trains_and_predicts_with_every_parameter_in_use(name) -> None:
    model = _segmentor(name)
    losses = _losses(model, _batch())
    total, _ = model.parse_losses(losses)
    total.backward()
    for key, parameter in model.decode_head.named_parameters():
        assert parameter.grad is not None, key
        assert torch.isfinite(parameter.grad).all(), key
    model.eval()
    data = model.data_preprocessor(_batch(), training=False)
    with torch.no_grad():
        samples = model.predict(**data)
    channels = SLOTS if name == 'seg' else CLASSES
    assert samples[0].seg_logits.data.shape == (channels, 40, 50)
    assert samples[0].pred_sem_seg.data.shape == (1, 40, 50)


def test_names_of_the_losses() -> None:
    assert set(_losses(_segmentor('seg'), _batch())) == {'decode.loss_reconstruction'}
    assert set(_losses(_segmentor('semantic with all'), _batch())) == {
        'decode.acc_seg',
        'decode.loss_ce',
        'decode.loss_dice',
        'decode.loss_reconstruction',
        *(f'decode.step{i}.loss_{name}' for i in range(2) for name in ('ce', 'dice')),
    }


def test_the_masks_of_slots_sum_to_one_and_are_resized_before_the_best_is_taken() -> None:
    head = MODELS.build(_config('seg')).eval()
    maps = _maps()
    masks = head(maps)
    torch.testing.assert_close(masks.sum(dim=1), torch.ones(2, *GRID))
    metas = [dict(img_shape=(SIDE, SIDE))] * 2
    resized = head.predict(maps, metas, dict(mode='whole'))
    want = nn.functional.interpolate(masks, (SIDE, SIDE), mode='bilinear')
    torch.testing.assert_close(resized, want)


def test_masks_are_of_images_of_any_size() -> None:
    for masks in ('attention', 'decoder'):
        head = MODELS.build(_config('seg', masks=masks)).eval()
        assert head(_maps(width=7)).shape == (2, SLOTS, 4, 7)
    with pytest.raises(ValueError, match='MLPDecoder'):
        MODELS.build(_config('seg')).train()(_maps(width=7))


def test_semantic_logits_are_the_log_of_attention_times_classes() -> None:
    head = MODELS.build(_config('semantic')).eval()
    maps = _maps()
    tokens = head.features(maps)
    slots = head.slot_head(tokens)
    classes = head.classify(slots.slots).softmax(dim=2)
    want = torch.einsum('bkn,bkc->bcn', slots.attn, classes).unflatten(2, GRID)
    got = head(maps)
    torch.testing.assert_close(got.exp(), want)
    torch.testing.assert_close(got.softmax(dim=1), want)


def test_cross_entropy_is_the_likelihood_of_the_labels() -> None:
    model = _segmentor('semantic', loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True))
    batch = _batch()
    got = _losses(model, batch)
    data = model.data_preprocessor(deepcopy(batch), training=True)
    shares = model.decode_head.score(model.decode_head.features(model.extract_feat(data['inputs'])))
    shares = nn.functional.interpolate(shares, (SIDE, SIDE), mode='bilinear')
    labels = torch.cat([sample.gt_sem_seg.data for sample in data['data_samples']])
    counts = labels != 255
    at_label = shares.gather(1, labels.where(counts, 0)[:, None])[:, 0][counts]
    torch.testing.assert_close(got['decode.loss_ce'], -at_label.log().mean())
    right = shares.argmax(dim=1)[counts] == labels[counts]
    torch.testing.assert_close(got['decode.acc_seg'], 100 * right.float().mean())


def test_which_slot_finds_a_region_does_not_matter_for_the_classes() -> None:
    head = MODELS.build(_config('semantic')).eval()
    maps = _maps()
    before = head(maps)
    slots = next(head.slot_head.initializer.parameters())
    assert slots.shape[-2] == SLOTS
    slots.data = slots.data.flip(-2)
    torch.testing.assert_close(head(maps), before)


TRANSFORMER = dict(type='TransformerDecoder', channels=8, num_layers=1, num_heads=2)


@pytest.mark.parametrize('name', HEADS)
@pytest.mark.parametrize('decoder', [DECODER, TRANSFORMER], ids=lambda decoder: decoder['type'])
def test_what_lies_on_padding_changes_nothing(name, decoder) -> None:
    changes = {'decoder': {**decoder, 'grid': (4, 6)}} if 'decoder' in HEADS[name] else {}
    torch.manual_seed(3)
    head = MODELS.build(_config(name, **changes))
    maps = _maps(width=6)
    metas = [dict(img_shape=(32, 32), pad_shape=(32, 48), padding_size=(0, 16, 0, 0))] * 2
    samples = [SegDataSample(metainfo=meta) for meta in metas]
    for sample in samples:
        sample.gt_sem_seg = PixelData(data=torch.full((1, 32, 48), 255))
        sample.gt_sem_seg.data[:, :, :32] = 1
    found = []
    for padding in (0.0, 100.0):
        maps[1][..., 4:] = padding
        losses = head.loss(maps, samples, None)
        sum(value for key, value in losses.items() if 'loss' in key).backward()
        gradients = [p.grad.clone() for p in head.parameters() if p.grad is not None]
        head.zero_grad()
        masks = head.predict(maps, metas, dict(mode='whole'))
        assert masks.shape[2:] == (32, 48)
        found.append([*losses.values(), *gradients, masks[..., :32]])
        assert all(torch.isfinite(value).all() for value in found[-1])
        shares = masks if name == 'seg' else masks.exp()
        torch.testing.assert_close(shares.sum(dim=1), torch.ones(2, 32, 48))
    torch.testing.assert_close(*found)


@pytest.mark.parametrize('masks', ['decoder', 'attention'])
def test_masks_of_padding_do_not_reach_the_image(masks) -> None:
    """The image ends in the middle of a token; what lies behind must not be seen."""
    head = MODELS.build(_config('seg', masks=masks)).eval()
    maps = _maps()
    metas = [dict(img_shape=(32, 27), pad_shape=(32, 32), padding_size=(0, 5, 0, 0))] * 2
    got = head.predict(maps, metas, dict(mode='whole'))
    features = head.features(maps, metas)
    assert features.mask.unflatten(1, GRID).all(dim=1)[0].tolist() == [True, True, True, False]
    shares = head.score(features)
    shares[..., 3] = shares[..., 2]  # the nearest token that exists
    want = nn.functional.interpolate(shares, (SIDE, SIDE), mode='bilinear')
    torch.testing.assert_close(got[..., :27], want[..., :27])


def test_images_that_the_segmentor_pads_in_a_test() -> None:
    """Masks of an image that is padded to whole tokens end where the image ends."""
    model = _segmentor('semantic').eval()
    image = torch.randint(256, (3, 24, 32), dtype=torch.uint8)
    found = []
    for padded in (False, True):
        model.data_preprocessor.test_cfg = dict(size=(SIDE, SIDE)) if padded else None
        sample = SegDataSample(metainfo=dict(img_shape=(24, 32), ori_shape=(48, 64)))
        data = model.data_preprocessor({'inputs': [image], 'data_samples': [sample]}, False)
        assert data['inputs'].shape[2:] == ((32, 32) if padded else (24, 32))
        with torch.no_grad():
            found.append(model.predict(**data)[0].seg_logits.data.softmax(dim=0))
    assert found[0].shape == (CLASSES, 48, 64)
    torch.testing.assert_close(*found)


def test_windows_know_nothing_of_the_padding_of_the_image() -> None:
    model = _segmentor('semantic', mode='slide').eval()
    metas = [dict(img_shape=(16, 16), img_padding_size=(0, 0, 0, 16), pad_shape=(32, 32))]
    maps = [one[:1, :, :2, :2] for one in _maps()]
    got = model.decode_head.predict(maps, metas, dict(mode='slide'))
    want = model.decode_head(maps).softmax(dim=1)
    want = nn.functional.interpolate(want, (16, 16), mode='bilinear').log()
    torch.testing.assert_close(got, want)


@pytest.mark.parametrize('name', HEADS)
def test_bfloat16_autocast_keeps_shares_in_single_precision(name) -> None:
    model = _segmentor(name)
    batch = _batch()
    want = _losses(model, batch)
    with torch.autocast('cpu', torch.bfloat16):
        got = _losses(model, batch)
        shares = model.decode_head.predict(_maps(), [dict(img_shape=(32, 32))] * 2, {})
    assert shares.dtype == torch.float32
    for key, value in want.items():
        torch.testing.assert_close(got[key].float(), value.float(), rtol=0.1, atol=0.1)


def test_double_precision_stays() -> None:
    head = MODELS.build(_config('semantic')).double()
    assert head([one.double() for one in _maps()]).dtype == torch.float64


def test_pruned_slots_have_no_mask_and_are_not_decoded() -> None:
    mixture = dict(
        type='ProbabilisticSlotAttention',
        slot_dim=8,
        initializer=dict(type='LearnedSlots', num_slots=SLOTS),
        prune_threshold=0.34,
    )
    head = MODELS.build(_config('seg', slot_head=mixture)).eval()
    maps = _maps()
    active = head.slot_head(head.features(maps)).active
    assert not active.all()
    assert not head(maps)[~active].any()


def test_losses_of_one_name_are_added() -> None:
    cross_entropy = dict(type='CrossEntropyLoss', loss_weight=0.5)
    batch = _batch()
    torch.manual_seed(1)
    one = _losses(_segmentor('semantic', loss_decode=cross_entropy), batch)
    torch.manual_seed(1)
    two = _losses(_segmentor('semantic', loss_decode=[cross_entropy, cross_entropy]), batch)
    torch.testing.assert_close(two['decode.loss_ce'], 2 * one['decode.loss_ce'])


def test_messages_name_the_head_also_where_it_is_an_auxiliary_one() -> None:
    model = _segmentor('semantic', frozen=False)
    model.auxiliary_head = MODELS.build(_config('seg'))
    with pytest.raises(ValueError, match='SlotSegHead reconstructs the features of the backbone'):
        _losses(model, _batch())


def test_a_token_exists_if_its_centre_lies_on_the_image() -> None:
    assert token_mask([dict(img_shape=(32, 32))], (2, 2)) is None
    assert token_mask([dict(img_shape=(32, 32), padding_size=(0, 0, 0, 0))], (2, 2)) is None
    metas = [
        dict(img_shape=(20, 32), img_padding_size=(0, 0, 0, 12)),
        dict(img_shape=(32, 16, 3), padding_size=(8, 8, 0, 0)),
        dict(img_shape=(32, 32)),
    ]
    masks = token_mask(metas, (4, 4)).unflatten(1, (4, 4))
    # Centres of rows at 4, 12, 20 and 28; the image ends at 20.
    assert masks[0].all(dim=1).tolist() == [True, True, False, False]
    assert not masks[0, 2:].any()
    assert masks[1, 0].tolist() == [False, True, True, False]
    assert masks[2].all()
    # Smaller than a token: the nearest one stays.
    tiny = token_mask([dict(img_shape=(3, 3), padding_size=(0, 29, 0, 29))], (4, 4))
    assert tiny.nonzero().tolist() == [[0, 0]]


def test_slide_inference_averages_classes_and_refuses_slots() -> None:
    data = _segmentor('semantic').data_preprocessor(_batch(), training=False)
    data = {key: value[:1] for key, value in data.items()}
    with torch.no_grad():
        samples = _segmentor('semantic', mode='slide').eval().predict(**data)
        assert samples[0].seg_logits.data.shape == (CLASSES, 40, 50)
        with pytest.raises(ValueError, match=r"mode is 'slide'.*mode='whole'"):
            _segmentor('seg', mode='slide').eval().predict(**data)


def test_deep_supervision_sees_the_earlier_updates() -> None:
    model = _segmentor('semantic', step_weight=0.5)
    batch = _batch()
    losses = _losses(model, batch)
    for num_iters in (1, 2):
        model.decode_head.slot_head.num_iters = num_iters
        alone = _losses(model, batch)['decode.loss_ce']
        torch.testing.assert_close(losses[f'decode.step{num_iters - 1}.loss_ce'], 0.5 * alone)


@pytest.mark.parametrize('name', ['seg', 'semantic with all'])
def test_features_of_a_trained_backbone_are_not_reconstructed(name) -> None:
    with pytest.raises(ValueError, match=r'backbone .*being trained.*constant.*frozen=True'):
        _losses(_segmentor(name, frozen=False), _batch())


def test_without_reconstruction_the_backbone_may_be_trained() -> None:
    model = _segmentor('semantic', frozen=False)
    model.parse_losses(_losses(model, _batch()))[0].backward()
    assert model.backbone.first.weight.grad.abs().sum() > 0


@pytest.mark.parametrize('name', ['seg', 'semantic'])
@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(in_index=2), r'in_index is 2, but the backbone gives 2 map\(s\), of \[6, 12\] chann'),
        (dict(in_index=-3), 'in_index is -3'),
        (dict(in_index=0), 'in_channels is 12, but map 0 of the backbone has 6 channels'),
    ],
)
def test_a_level_that_does_not_exist(name, changes, message) -> None:
    with pytest.raises(ValueError, match=message):
        MODELS.build(_config(name, **changes))(_maps())


@pytest.mark.parametrize(
    ('name', 'changes', 'message'),
    [
        (
            'seg',
            dict(slot_head={**SLOT_HEAD, 'initializer': dict(type='LearnedSlots')}),
            'initializer.num_slots is missing; LearnedSlots needs the number of slots',
        ),
        (
            'seg',
            dict(slot_head={**SLOT_HEAD, 'initializer': dict(type='LearnedSlots', num_slots=1)}),
            'expected at least 2, got 1',
        ),
        ('seg', dict(masks='logits'), "masks must be 'decoder' or 'attention', got 'logits'"),
        ('seg', dict(target=dict(type='PixelTarget')), 'SlotSegHead.target is a PixelTarget'),
        (
            'seg',
            dict(decoder=dict(type='SpatialBroadcastDecoder')),
            r"SlotSegHead\.decoder, a SpatialBroadcastDecoder, makes 'image'",
        ),
        (
            'seg',
            dict(losses=[dict(type='TokenCrossEntropyLoss')]),
            r'SlotSegHead\.losses\[0\], a TokenCrossEntropyLoss',
        ),
        ('semantic', dict(num_classes=1), 'num_classes must be at least 2, got 1'),
        (
            'semantic',
            dict(step_weight=1.0, slot_head={**SLOT_HEAD, 'gradient': 'bilevel'}),
            r"step_weight=1\.0 needs slot_head\.gradient='unrolled'",
        ),
        (
            'semantic',
            dict(loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=True)),
            'this CrossEntropyLoss takes logits of single classes .*expected a loss with softmax',
        ),
        ('semantic', dict(loss_decode=dict(type='FocalLoss')), 'this FocalLoss takes logits of'),
        (
            'semantic',
            dict(loss_decode=dict(type='CrossEntropyLoss', use_mask=True)),
            'takes logits of single classes',
        ),
        ('semantic', dict(in_index=[0, 1]), r'in_index must be an int, got \[0, 1\]'),
        ('semantic', dict(losses=[dict(type='ReconstructionLoss')]), 'losses but no decoder'),
        ('semantic', dict(target=dict(type='FeatureTarget')), 'losses but no decoder'),
        ('seg', dict(decoder=None), 'SlotSegHead learns by its decoder, but decoder is None'),
        ('seg', dict(losses=[]), 'SlotSegHead.losses is empty'),
        (
            'semantic',
            dict(step_weight=1.0, slot_head={**SLOT_HEAD, 'num_iters': 1}),
            r'needs updates before the last one, but slot_head\.num_iters is 1',
        ),
    ],
)
def test_bad_configs_say_what_is_wrong(name, changes, message) -> None:
    with pytest.raises(ValueError, match=message):
        MODELS.build(_config(name, **changes))


@pytest.mark.parametrize(('labels', 'shown'), [(CLASSES + 3, r'They are \[5'), (250, r'They are')])
def test_more_classes_than_the_head_was_built_for(labels, shown) -> None:
    model = _segmentor('semantic')
    with pytest.raises(ValueError, match=r'num_classes=5 \(and ignore_index=255\).*' + shown):
        _losses(model, _batch(labels=labels))
