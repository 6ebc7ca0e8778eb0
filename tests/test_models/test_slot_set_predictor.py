from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.runner import Runner
from mmengine.structures import InstanceData

from mmocl.datasets.synthetic import ColoredSprites
from mmocl.models import SlotSetPredictor
from mmocl.models.decoders import PropertyDecoder
from mmocl.registry import MODELS
from mmocl.structures import SlotDataSample

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = sorted(path.name for path in (ROOT / 'configs/smm').glob('*_set_prediction_sprites.py'))
PROPERTIES = [
    {'name': 'position', 'size': 2, 'kind': 'coordinate'},
    {'name': 'scale', 'size': 1, 'kind': 'value', 'low': 0.5},
    {'name': 'shape', 'size': 3, 'kind': 'category', 'first': 1},
]
IMAGES = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def _model(**changes) -> SlotSetPredictor:
    config = {
        'type': 'SlotSetPredictor',
        'backbone': {'type': 'ConvEncoder', 'channels': 8, 'strides': (2,)},
        'slot_head': {
            'type': 'SlotAttention',
            'slot_dim': 12,
            'initializer': {'type': 'GaussianSlots', 'num_slots': 4},
        },
        'decoder': {'type': 'PropertyDecoder', 'properties': PROPERTIES, 'hidden_channels': 8},
        'losses': [{'type': 'SetPredictionLoss'}],
    }
    return MODELS.build(config | changes)


def _sample(num_objects: int, **changes) -> SlotDataSample:
    properties = {
        'position': torch.rand(num_objects, 2),
        'scale': 0.5 + torch.rand(num_objects) / 2,
        'shape': torch.randint(1, 4, (num_objects,)),
    }
    properties = {k: v for k, v in (properties | changes).items() if v is not None}
    return SlotDataSample(metainfo={'img_id': 7}, gt_objects=InstanceData(**properties))


def test_every_part_gets_a_gradient_and_other_losses_can_join() -> None:
    model = _model(losses=[{'type': 'SetPredictionLoss'}, {'type': 'CosineSlotLoss'}])
    losses = model.loss(IMAGES, [_sample(3), _sample(0)])
    assert losses.keys() == {'loss_set', 'loss_cosine'}
    model.parse_losses(losses)[0].backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad.abs().sum() > 0, name


def test_true_sets_are_padded_with_zeros() -> None:
    model = _model()
    shape = torch.tensor([3, 1])
    first = _sample(2, shape=shape, position=torch.tensor([[0.0, 0.5], [1.0, 0.25]]))
    values = model.true_sets([first, _sample(0), _sample(4)], num_slots=4)
    assert values.shape == (3, 4, 7)
    assert values[0, :2, :2].tolist() == [[-1, 0], [1, -0.5]]
    assert values[0, :2, 3:6].tolist() == [[0, 0, 1], [1, 0, 0]]
    assert values[:, :, 6].tolist() == [[1, 1, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1]]
    assert not values[0, 2:].any()
    assert not values[1].any()


def test_perfect_predictions_are_read_as_the_objects() -> None:
    decoder = PropertyDecoder(4, PROPERTIES)
    objects = _sample(5).gt_objects
    found = decoder.read(decoder.encode(objects))
    assert set(found.keys()) == {'position', 'scale', 'shape', 'score'}
    for name in ('position', 'scale', 'shape'):
        torch.testing.assert_close(found[name], objects[name])
    assert found.score.tolist() == [1] * 5


def test_numbers_of_clevr() -> None:
    sizes = {'position': 3, 'size': 2, 'material': 2, 'shape': 3, 'color': 8}
    kinds = {'position': 'coordinate'}
    properties = [
        {'name': name, 'size': size, 'kind': kinds.get(name, 'category')}
        for name, size in sizes.items()
    ]
    decoder = PropertyDecoder(16, properties)
    assert decoder.num_numbers == 19
    assert decoder.to_coordinates[2].out_features == 3
    assert decoder.to_others[2].out_features == 16
    numbers = decoder(torch.randn(2, 10, 16)).recon
    parts = numbers.split([3, 2, 2, 3, 8, 1], dim=2)
    for part in parts[1:5]:
        torch.testing.assert_close(part.sum(2), torch.ones(2, 10))
    # Without one head the other does it all, in the order of the properties.
    assert PropertyDecoder(16, properties[1:]).to_coordinates is None
    swapped = PropertyDecoder(16, properties[::-1])
    swapped.load_state_dict(decoder.state_dict())
    swapped_numbers = swapped(torch.randn(2, 10, 16)).recon
    torch.testing.assert_close(swapped_numbers[..., :8].sum(2), torch.ones(2, 10))


def test_predict_fills_set_attention_and_slots() -> None:
    model = _model().eval()
    for sample in model(IMAGES, [_sample(1), _sample(2)], mode='predict'):
        assert sample.pred_attn.shape == (8, 8)
        assert sample.pred_slots.slots.shape == (4, 12)
        assert len(sample.pred_set) == 4
        assert 0.5 <= sample.pred_set.scale.min() <= sample.pred_set.scale.max() <= 1
        assert set(sample.pred_set.shape.tolist()) <= {1, 2, 3}
        assert 'pred_masks' not in sample
    assert len(model.predict(IMAGES)) == 2
    assert model(IMAGES).shape == (2, 4, 7)
    with pytest.raises(ValueError, match="got 'train'"):
        model(IMAGES, mode='train')


def test_inactive_slots_are_no_objects() -> None:
    head = {
        'type': 'ProbabilisticSlotAttention',
        'slot_dim': 12,
        'initializer': {'type': 'GaussianSlots', 'num_slots': 4},
        'prune_threshold': 0.27,
    }
    for sample in _model(slot_head=head).eval().predict(IMAGES):
        active = sample.pred_slots.active
        assert not active.all()
        assert (sample.pred_set.score[active] > 0).all()
        assert not sample.pred_set.score[~active].any()


@pytest.mark.parametrize(
    ('sample', 'message'),
    [
        (_sample(5), r'image 7 has 5 objects, but there are 4 slots; set num_slots'),
        (_sample(2, scale=None), r"properties name \['scale'\].*hold \['position', 'shape'\]"),
        (_sample(2, shape=torch.tensor([0, 1])), r"'shape' must be in 1\.\.3"),
        (SlotDataSample(metainfo={'img_id': 7}), r"image 7 has no 'gt_objects'.*properties=True"),
    ],
)
def test_data_that_do_not_fit(sample, message) -> None:
    model = _model()
    with pytest.raises(ValueError, match=message):
        model.loss(IMAGES, [_sample(1), sample])
    with pytest.raises(ValueError, match='Got 0 data_samples for 2 images'):
        model(IMAGES, mode='loss')


@pytest.mark.parametrize(
    'properties', [[], PROPERTIES + PROPERTIES[:1], [{**PROPERTIES[1], 'name': 'score'}]]
)
def test_properties_need_names_of_their_own(properties) -> None:
    with pytest.raises(ValueError, match='properties need different names'):
        PropertyDecoder(4, properties)


def test_losses_need_different_names() -> None:
    with pytest.raises(ValueError, match='different names'):
        _model(losses=[{'type': 'SetPredictionLoss'}] * 2)


def test_there_are_configs() -> None:
    assert len(CONFIGS) == 3


@pytest.mark.parametrize('config', CONFIGS)
def test_config_trains_and_is_scored(config, tmp_path) -> None:
    """Also with validation data that have properties but no masks, which cannot be drawn."""
    cfg = Config.fromfile(ROOT / 'configs/smm' / config)
    for name in ('train', 'val', 'test'):
        cfg[f'{name}_dataloader'].batch_size = 2
        cfg[f'{name}_dataloader'].dataset.num_images = 4
    cfg.val_dataloader.dataset.update(test_mode=False, properties=True)
    cfg.train_cfg.update(max_iters=1, val_interval=1)
    cfg.param_scheduler = None
    cfg.default_hooks.checkpoint = None
    cfg.work_dir = str(tmp_path)
    cfg.experiment_name = tmp_path.name
    runner = Runner.from_cfg(cfg)
    runner.train()
    metrics = runner.test()
    assert metrics['set/num_images'] == 4
    assert 0 <= metrics['set/ap_0.125'] <= metrics['set/ap_inf'] <= 1
    assert list(tmp_path.glob('*/vis_data/vis_image/val_0*.png'))


def test_the_properties_of_the_sprites_fit_the_numbers() -> None:
    cfg = Config.fromfile(ROOT / 'configs/smm' / CONFIGS[0])
    dataset = ColoredSprites(num_images=30, image_size=32, properties=True)
    model = MODELS.build(cfg.model)
    samples = pseudo_collate([dataset[i] for i in range(30)])['data_samples']
    values = model.true_sets(samples, num_slots=5)
    assert -1 <= values.min() < -0.9
    assert 0.9 < values.max() <= 1
