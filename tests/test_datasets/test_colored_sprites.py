import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.runner import Runner

from mmocl.datasets.synthetic import ColoredSprites, render_scene, sprite_mask
from mmocl.registry import DATASETS


def _dataset(**kwargs) -> ColoredSprites:
    return ColoredSprites(**{'num_images': 40, 'test_mode': True, **kwargs})


@pytest.mark.parametrize('background', ['plain', 'colored'])
@pytest.mark.parametrize('size', [32, 64])
def test_masks_partition_the_image_and_explain_it(size: int, background: str) -> None:
    dataset = _dataset(image_size=size, background=background)
    for i in range(len(dataset)):
        scene = dataset.scene(i)
        assert scene.image.shape == (size, size, 3)
        np.testing.assert_array_equal(scene.masks.sum(0), 1)
        assert scene.masks.sum((1, 2)).min() >= 8
        assert scene.masks[0].any()
        colors = np.rint(scene.color * 255).astype(np.uint8)
        for mask, color in zip(scene.masks[1:], colors, strict=True):
            np.testing.assert_array_equal(scene.image[mask] - color, 0)
        assert len(np.unique(scene.image[scene.masks[0]], axis=0)) == 1


def test_objects_occlude_in_order_and_properties_are_true() -> None:
    dataset = _dataset(min_objects=4)
    hidden = 0
    for i in range(len(dataset)):
        scene = dataset.scene(i)
        full = [
            sprite_mask(int(k), float(s), float(a), (float(p[0]), float(p[1])), 64)
            for k, s, a, p in zip(
                scene.shape, scene.scale, scene.orientation, scene.position, strict=True
            )
        ]
        for j, mask in enumerate(full):
            in_front = np.any(full[j + 1 :], axis=0)
            np.testing.assert_array_equal(scene.masks[j + 1], mask & ~in_front)
            hidden += (mask & in_front).any()
            border = mask.copy()
            border[1:-1, 1:-1] = False
            assert not border[[0, -1]].all()
    assert hidden > 10


def test_item_depends_on_seed_and_index_only() -> None:
    dataset = _dataset()
    first = dataset[3]
    dataset[4]
    again, other = _dataset()[3], _dataset(seed=1)[3]
    assert torch.equal(first['inputs'], again['inputs'])
    assert torch.equal(first['inputs'], dataset[3 - 40]['inputs'])
    assert not torch.equal(first['inputs'], dataset[4]['inputs'])
    assert not torch.equal(first['inputs'], other['inputs'])
    train = _dataset(test_mode=False)[3]
    assert torch.equal(first['inputs'], train['inputs'])
    assert 'gt_objects' not in train['data_samples']


def test_numbers_of_objects_and_shapes_are_all_drawn() -> None:
    dataset = _dataset(num_images=100, min_objects=2, max_objects=4)
    scenes = [dataset.scene(i) for i in range(100)]
    assert {len(s.shape) for s in scenes} == {2, 3, 4}
    assert set(np.concatenate([s.shape for s in scenes])) == {1, 2, 3}
    angles = np.concatenate([s.orientation for s in scenes])
    assert 0 <= angles.min() < 0.1
    assert 6.18 < angles.max() < 2 * np.pi


def test_packed_sample() -> None:
    item = _dataset(min_objects=3, max_objects=3)[0]
    assert item['inputs'].shape == (3, 64, 64)
    assert item['inputs'].dtype == torch.uint8
    sample = item['data_samples']
    assert (sample.img_id, sample.ori_shape, sample.img_shape) == (0, (64, 64), (64, 64))
    objects = sample.gt_objects
    shapes = {k: (tuple(v.shape), v.dtype) for k, v in objects.items()}
    assert shapes == {
        'masks': ((3, 64, 64), torch.bool),
        'labels': ((3,), torch.int64),
        'crowd': ((3,), torch.bool),
        'shape': ((3,), torch.int64),
        'scale': ((3,), torch.float32),
        'orientation': ((3,), torch.float32),
        'position': ((3, 2), torch.float32),
        'color': ((3, 3), torch.float32),
    }
    assert not objects.crowd.any()


def test_properties_alone() -> None:
    objects = _dataset(test_mode=False, properties=True)[0]['data_samples'].gt_objects
    everything = _dataset()[0]['data_samples'].gt_objects
    assert set(objects.keys()) == {'shape', 'scale', 'orientation', 'position', 'color'}
    assert set(everything.keys()) - set(objects.keys()) == {'masks', 'labels', 'crowd'}
    for name, value in objects.items():
        torch.testing.assert_close(value, everything[name])


def test_empty_scene() -> None:
    item = _dataset(min_objects=0, max_objects=0)[0]
    assert item['data_samples'].gt_objects.masks.shape == (0, 64, 64)


def test_mmengine_dataloader() -> None:
    loader = Runner.build_dataloader(
        {
            'batch_size': 4,
            'num_workers': 0,
            'sampler': {'type': 'DefaultSampler', 'shuffle': False},
            'dataset': {'type': 'ColoredSprites', 'num_images': 8},
        }
    )
    batch = next(iter(loader))
    assert len(batch['inputs']) == len(batch['data_samples']) == 4
    assert loader.dataset.metainfo['classes'] == ('square', 'ellipse', 'heart')
    assert pseudo_collate([loader.dataset[0]])['inputs'][0].dtype == torch.uint8


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'num_images': 0}, 'num_images must be at least 1, got 0'),
        ({'image_size': 16}, r'image_size must be at least 32 .* got 16'),
        ({'min_objects': 5}, 'expected 0 <= min_objects <= max_objects, got 5 and 4'),
        ({'background': 'noise'}, "background must be one of .*got 'noise'"),
        ({'seed': -1}, 'seed must not be negative, got -1'),
    ],
)
def test_bad_arguments(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DATASETS.build({'type': 'ColoredSprites', 'num_images': 4, **change})


def test_index_out_of_range() -> None:
    with pytest.raises(IndexError, match='index 40 of a dataset of 40 images'):
        _dataset()[40]


def test_too_many_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('mmocl.datasets.synthetic.scene._MAX_DRAWS', 20)
    with pytest.raises(ValueError, match='expected fewer objects, a larger image or a smaller'):
        render_scene(np.random.default_rng(0), 32, num_objects=60)


def test_min_distance_keeps_centres_apart() -> None:
    dataset = ColoredSprites(num_images=30, image_size=32, min_objects=2, min_distance=0.25)
    free = ColoredSprites(num_images=30, image_size=32, min_objects=2)
    closest = [_closest(d.scene(i).position) for d in (dataset, free) for i in range(30)]
    assert min(closest[:30]) >= 0.25
    assert min(closest[30:]) < 0.25


def _closest(position: np.ndarray) -> float:
    distance = np.linalg.norm(position[:, None] - position, axis=2)
    return distance[~np.eye(len(position), dtype=bool)].min()
