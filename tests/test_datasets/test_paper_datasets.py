"""The other data sets of the papers, on small files of their layouts and on real ones."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image
from tiny_data import assert_two_objects, box

from mmocl.datasets import Ecssd, Flowers17, ObjectsRoom, ShapeStacks
from mmocl.registry import DATASETS, METRICS

CONFIGS = Path(__file__).resolve().parents[2] / 'configs' / '_base_' / 'datasets'
TRAIN = [{'type': 'LoadImage'}, {'type': 'PackSlotInputs'}]
TEST = [{'type': 'LoadImage'}, {'type': 'LoadObjectMasks'}, {'type': 'PackSlotInputs'}]


def ids(dataset) -> list[str]:
    return [dataset.get_data_info(i)['img_id'] for i in range(len(dataset))]


def test_objects_room(tiny_data: Path) -> None:
    dataset = ObjectsRoom(tiny_data / 'objects_room', 'val', TEST, test_mode=True)
    assert ids(dataset) == [f'img_{i:06d}' for i in range(4)]
    assert_two_objects(dataset, [5, 7])


def test_objects_room_walls_are_background(tiny_data: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_data / 'objects_room' / 'val', tmp_path / 'val')
    values = np.arange(64, dtype=np.uint8).repeat(64).reshape(64, 64) // 8
    Image.fromarray(values).save(folder / 'masks' / 'mask_000001.png')
    dataset = ObjectsRoom(tmp_path, 'val', TEST, test_mode=True)
    objects = dataset[1]['data_samples'].gt_objects
    assert objects.labels.tolist() == [5, 6, 7]
    assert not objects.masks[:, :40].any()
    assert objects.masks[:, 40:].any(0).all()
    # Training needs no masks.
    shutil.rmtree(folder / 'masks')
    assert len(ObjectsRoom(tmp_path, 'val', TRAIN)) == 4
    with pytest.raises(FileNotFoundError, match=r'images: no folder at .*masks'):
        ObjectsRoom(tmp_path, 'val', TEST, test_mode=True)


def test_frame_cuts_void_pixels_too(tiny_data: Path) -> None:
    pipeline = [{'type': 'LoadImage', 'frame': (4, 0, 64, 64)}, *TEST[1:]]
    dataset = Flowers17(tiny_data / 'flowers17', 'val', pipeline, test_mode=True)
    void = dataset[0]['data_samples'].gt_void.data
    assert void.shape == (1, 60, 64)
    assert void[0, :4].all()
    assert not void[0, 4:].any()


@pytest.mark.parametrize('split', ['train', 'eval', 'test'])
def test_shapestacks(tiny_data: Path, split: str) -> None:
    root = tiny_data / 'shapestacks'
    dataset = ShapeStacks(root, split, pipeline=TEST, test_mode=True)
    # Two cameras with two variants each; the last line counts without a newline too.
    assert len(set(ids(dataset))) == 4
    assert ids(dataset)[0] == (f'env_ccs-easy-h=2-{split}/rgb-w=5-f=3-l=1-c=original-cam_1-mono-0')
    for i in range(4):
        info = dataset.get_data_info(i)
        camera = info['img_id'].split('cam_')[1]
        assert info['label_map_path'].endswith(f'iseg-w=0-f=0-l=0-c=original-cam_{camera}.map')
    assert_two_objects(dataset, [1, 3])


def test_shapestacks_masks_apart(tiny_data: Path, tmp_path: Path) -> None:
    root = shutil.copytree(tiny_data / 'shapestacks', tmp_path / 'shapestacks')
    scenario = 'env_ccs-easy-h=2-test'
    (root / 'iseg' / scenario).mkdir(parents=True)
    for path in (root / 'recordings' / scenario).glob('*.map'):
        path.rename(root / 'iseg' / scenario / path.name)
    dataset = ShapeStacks(root, 'test', mask_folder='iseg', pipeline=TEST, test_mode=True)
    assert_two_objects(dataset, [1, 3])
    with pytest.raises(FileNotFoundError, match=r'4 of 4 images .*recordings.*original-cam_1'):
        ShapeStacks(root, 'test', test_mode=True)
    with pytest.raises(FileNotFoundError, match=r"split 'val'.*\['eval', 'test', 'train'\]"):
        ShapeStacks(root, 'val')
    (root / 'splits' / 'default' / 'test.txt').write_text('env_of_next_year\n')
    with pytest.raises(FileNotFoundError, match=r'scenario env_of_next_year of .*test.txt'):
        ShapeStacks(root, 'test')


@pytest.mark.parametrize(('cls', 'folder'), [(Flowers17, 'flowers17'), (Ecssd, 'ECSSD')])
def test_every_fourth_image_is_for_validation(tiny_data: Path, cls: type, folder: str) -> None:
    val = ids(cls(tiny_data / folder, 'val'))
    assert val == [f'image_{i:04d}' for i in (3, 7, 11, 15)]
    train = ids(cls(tiny_data / folder))
    assert len(train) == 12
    assert sorted(train + val) == ids(cls(tiny_data / folder, 'all'))
    with pytest.raises(ValueError, match=r"split must be one of .*'all'\), got 'test'"):
        cls(tiny_data / folder, 'test')


def test_flowers_have_one_object_and_void(tiny_data: Path) -> None:
    sample = Flowers17(tiny_data / 'flowers17', 'val', TEST, True)[0]['data_samples']
    # The second rectangle is sky.
    assert sample.gt_objects.labels.tolist() == [1]
    assert torch.equal(sample.gt_objects.masks[0], box(64, 64, 16, 16, 32, 32))
    assert torch.equal(sample.gt_void.data[0], box(64, 64, 0, 0, 8, 64))


def test_ecssd_has_one_object_of_two_parts(tiny_data: Path) -> None:
    sample = Ecssd(tiny_data / 'ECSSD', 'val', TEST, True)[0]['data_samples']
    assert sample.gt_objects.labels.tolist() == [1]
    parts = box(48, 64, 12, 16, 24, 32) | box(48, 64, 24, 32, 36, 48)
    assert torch.equal(sample.gt_objects.masks[0], parts)
    assert 'gt_void' not in sample


def test_real_flowers(data_root: Path) -> None:
    root = data_root / 'flowers17'
    dataset = Flowers17(root, 'val', TEST, test_mode=True)
    assert (len(dataset), len(Flowers17(root))) == (62, 188)
    for item in dataset:
        sample = item['data_samples']
        trimap = np.array(Image.open(root / 'trimaps' / f'{sample.img_id}.png'))
        (mask,) = sample.gt_objects.masks.numpy()
        np.testing.assert_array_equal(mask, trimap == 1)
        np.testing.assert_array_equal(sample.gt_void.data[0], trimap == 0)
        assert mask.mean() > 0.03


def test_real_ecssd(data_root: Path) -> None:
    root = data_root / 'ECSSD'
    dataset = Ecssd(root, 'val', TEST, test_mode=True, indices=20)
    assert len(Ecssd(root, 'val')) + len(Ecssd(root)) == 240
    for item in dataset:
        sample = item['data_samples']
        values = np.array(Image.open(root / 'ground_truth_mask' / f'{sample.img_id}.png'))
        (mask,) = sample.gt_objects.masks.numpy()
        np.testing.assert_array_equal(mask, values == 255)


@pytest.mark.parametrize(
    ('name', 'size'),
    [
        ('clevr6_128', 128),
        ('clevr_scenes_128', 128),
        ('clevrtex_128', 128),
        ('ecssd_64', 64),
        ('flowers17_64', 64),
        ('objects_room_64', 64),
        ('shapestacks_128', 128),
    ],
)
def test_base_configs(
    tiny_data: Path, monkeypatch: pytest.MonkeyPatch, name: str, size: int
) -> None:
    monkeypatch.setenv('MMOCL_DATA', str(tiny_data))
    cfg = Config.fromfile(CONFIGS / f'{name}.py')
    train = DATASETS.build(cfg.train_dataloader.dataset)
    assert train[0]['inputs'].shape == (3, size, size)
    with_masks = name != 'clevr_scenes_128'
    assert ('gt_objects' in train[0]['data_samples']) == (not with_masks)
    for loader in (cfg.val_dataloader, cfg.test_dataloader):
        dataset = DATASETS.build(loader.dataset)
        assert len(dataset) == 4
        assert dataset[1]['inputs'].shape == (3, size, size)
        assert ('masks' in dataset[1]['data_samples'].gt_objects) == with_masks
    evaluators = cfg.get('val_evaluator', [])
    for evaluator in evaluators if isinstance(evaluators, list) else [evaluators]:
        METRICS.build(evaluator)
    assert bool(evaluators) == with_masks
