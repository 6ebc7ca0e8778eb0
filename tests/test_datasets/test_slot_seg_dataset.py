"""Our data sets through mmseg's own transforms."""

import copy
import logging
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.registry import DATASETS as ROOT_DATASETS
from mmengine.registry import DefaultScope
from PIL import Image

from mmocl.datasets import SlotSegDataset, VocObjects
from mmocl.datasets.transforms import CorruptImageError
from mmocl.visualization.drawing import palette

TRAIN = [
    {'type': 'LoadImageFromFile'},
    {'type': 'Resize', 'scale': (24, 24)},
    {'type': 'RandomFlip', 'prob': 0.5},
    {'type': 'PackSegInputs'},
]
TEST = [TRAIN[0], TRAIN[1], TRAIN[3]]


@pytest.fixture(autouse=True)
def _mmseg_scope(_fresh_globals: None, request: pytest.FixtureRequest) -> None:
    """As in a run of mmseg."""
    DefaultScope.get_instance(f'slot-seg-{request.node.name}', scope_name='mmseg')


def objects_of(root: Path, kind: str = 'VocObjects', split: str = 'val') -> dict:
    return {'type': kind, 'data_root': str(root), 'split': split}


def test_a_test_sample_has_the_ground_truth_of_our_dataset(voc: Path) -> None:
    # As a Runner builds it, whose scope stays mmseg's.
    config = {
        'type': 'mmocl.SlotSegDataset', 'objects': objects_of(voc), 'num_slots': 4,
        'pipeline': TEST, 'test_mode': True,
    }  # fmt: skip
    kept = copy.deepcopy(config)
    dataset = ROOT_DATASETS.build(config)
    assert config == kept
    assert len(dataset) == 2
    item = dataset[0]
    sample = item['data_samples']
    assert type(sample).__name__ == 'SegDataSample'
    assert item['inputs'].shape == (3, 24, 24)
    assert sample.metainfo['img_id'] == 'im0'
    assert sample.metainfo['crop'] == 'squash'
    assert sample.metainfo['ori_shape'] == (40, 60)
    assert sample.metainfo['img_shape'] == (24, 24)
    with DefaultScope.overwrite_default_scope('mmocl'):
        steps = [{'type': t} for t in ('LoadImage', 'LoadObjectMasks', 'PackSlotInputs')]
        ours = VocObjects(voc, 'val', steps, test_mode=True)[0]['data_samples']
    for key in ('masks', 'labels', 'crowd'):
        assert torch.equal(sample.gt_objects[key], ours.gt_objects[key]), key
    assert sample.gt_objects.masks.shape == (2, 40, 60)
    assert torch.equal(sample.gt_void.data, ours.gt_void.data)


def test_the_classes_are_slots(voc: Path, coco: Path) -> None:
    meta = SlotSegDataset(objects_of(voc), 4, TEST).metainfo
    assert meta['classes'] == ('slot 0', 'slot 1', 'slot 2', 'slot 3')
    assert meta['palette'] == palette(4).tolist()
    assert meta['dataset_type'] == 'VocObjects'
    assert 'complete' not in meta
    # COCO annotates objects only, which protocols that score the background must know.
    meta = SlotSegDataset(objects_of(coco, 'CocoObjects', 'val2017'), 4, TEST).metainfo
    assert meta['complete'] is False
    assert len(meta['classes']) == 4


def test_training_shows_images_only(voc: Path) -> None:
    dataset = SlotSegDataset(objects_of(voc, split='trainaug'), 4, TRAIN)
    sample = dataset[1]['data_samples']
    assert sample.img_path.endswith('im2.jpg')
    assert set(sample.keys()) == set()
    flips = {dataset[0]['data_samples'].flip for _ in range(30)}
    assert flips == {True, False}


def test_pixels_are_bgr_as_mmseg_wants_them(voc: Path) -> None:
    Image.new('RGB', (60, 40), (255, 0, 0)).save(voc / 'JPEGImages' / 'im0.jpg')
    pixels = SlotSegDataset(objects_of(voc), 2, TEST)[0]['inputs'].float().mean((1, 2))
    assert pixels[2] > 250 > 5 > pixels[0]


def test_every_kind_of_ground_truth_is_decoded(tiny_data: Path, coco: Path) -> None:
    kinds = {
        'Ecssd': ('ECSSD', 'val', 1), 'Flowers17': ('flowers17', 'val', 1),
        'CocoPanoptic': ('coco', 'val2017', None), 'ObjectsRoom': ('objects_room', 'test', 2),
        'ClevrTex': ('clevrtex', 'test', 2), 'ShapeStacks': ('shapestacks', 'test', 2),
    }  # fmt: skip
    for kind, (folder, split, num_objects) in kinds.items():
        objects = objects_of(tiny_data / folder, kind, split)
        dataset = SlotSegDataset(objects, 3, TEST, test_mode=True, indices=1)
        assert len(dataset) == 1
        sample = dataset[0]['data_samples']
        masks = sample.gt_objects.masks
        assert masks.shape[1:] == sample.ori_shape, kind
        assert num_objects is None or len(masks) == num_objects, kind
    sample = SlotSegDataset(objects_of(coco, 'CocoObjects', 'val2017'), 3, TEST, test_mode=True)[0]
    assert sample['data_samples'].gt_objects.crowd.tolist() == [False, True, False]


def test_folders_without_masks_can_be_predicted(voc: Path) -> None:
    folder = {'type': 'ImageFolder', 'data_root': str(voc / 'JPEGImages')}
    dataset = SlotSegDataset(folder, 3, TEST, test_mode=True, indices=[2, 0])
    assert [dataset[i]['data_samples'].img_id for i in range(2)] == ['im2.jpg', 'im0.jpg']
    assert 'gt_objects' not in dataset[0]['data_samples']


def test_names_resolve_outside_an_mmseg_run(voc: Path) -> None:
    pipeline = [{**step, 'type': f'mmseg.{step["type"]}'} for step in TEST]
    with DefaultScope.overwrite_default_scope('mmocl'):
        dataset = SlotSegDataset(objects_of(voc), 3, pipeline, test_mode=True)
    assert 'gt_objects' in dataset[0]['data_samples']


def _empty(path: Path) -> None:
    path.write_bytes(b'')


def _garbage(path: Path) -> None:
    path.write_bytes(b'no image' * 40)


@pytest.mark.parametrize('spoil', [_empty, _garbage])
@pytest.mark.parametrize('load', [{}, {'ignore_empty': True}, {'imdecode_backend': 'pillow'}])
def test_corrupt_images_are_replaced_in_training_only(
    voc: Path, spoil: Callable, load: dict, caplog: pytest.LogCaptureFixture
) -> None:
    spoil(voc / 'JPEGImages' / 'im0.jpg')
    pipeline = [{**TEST[0], **load}, *TEST[1:]]
    caplog.set_level(logging.WARNING)
    dataset = SlotSegDataset(objects_of(voc), 3, pipeline)
    assert dataset[0]['data_samples'].img_path.endswith('im1.jpg')
    assert dataset.num_corrupt >= 1
    dataset = SlotSegDataset(objects_of(voc), 3, pipeline, test_mode=True)
    with pytest.raises(CorruptImageError, match=r'im0\.jpg'):
        dataset[0]


def test_errors_that_are_not_the_files_stay_what_they_are(voc: Path) -> None:
    def broken(results: dict) -> dict:
        raise ZeroDivisionError('mine')

    for test_mode in (False, True):
        dataset = SlotSegDataset(objects_of(voc), 3, [TEST[0], broken], test_mode=test_mode)
        with pytest.raises(ZeroDivisionError, match='mine'):
            dataset[0]
    (voc / 'JPEGImages' / 'im0.jpg').unlink()
    with pytest.raises(FileNotFoundError, match=r'im0\.jpg'):
        dataset[0]


@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize('size', [(40, 60), (40, 40)])
def test_masks_turn_with_photographs(voc: Path, orientation: int, size: tuple[int, int]) -> None:
    """A white patch and its mask, in a file with an EXIF orientation."""
    exif = Image.Exif()
    exif[274] = orientation
    patch = np.zeros(size, np.uint8)
    patch[4:12, 8:32] = 1
    pixels = Image.fromarray(255 * patch[..., None].repeat(3, axis=2))
    pixels.save(voc / 'JPEGImages' / 'im0.jpg', exif=exif, quality=95)
    for folder in ('SegmentationObject', 'SegmentationClass'):
        Image.fromarray(patch).save(voc / folder / 'im0.png')
    for load, upright in (({}, True), ({'color_type': 'color_ignore_orientation'}, False)):
        pipeline = [{**TEST[0], **load}, TEST[-1]]
        item = SlotSegDataset(objects_of(voc), 3, pipeline, test_mode=True)[0]
        sample = item['data_samples']
        shape = size[::-1] if upright and orientation > 4 else size
        assert sample.ori_shape == shape
        (mask,) = sample.gt_objects.masks
        assert torch.equal(item['inputs'][0] > 127, mask)
        assert sample.gt_void.data.shape == (1, *shape)


def test_masks_of_another_size_are_refused(voc: Path) -> None:
    Image.new('RGB', (50, 40)).save(voc / 'JPEGImages' / 'im0.jpg')
    dataset = SlotSegDataset(objects_of(voc), 3, TEST, test_mode=True)
    with pytest.raises(ValueError, match=r'is \(40, 50\) .* annotation says \(40, 60\)'):
        dataset[0]


@pytest.mark.parametrize(
    'step',
    [
        {'type': 'RandomCrop', 'crop_size': (16, 16)},
        {'type': 'CenterCrop', 'crop_size': (16, 16)},
        {'type': 'Pad', 'size': (64, 64)},
        {'type': 'RandomRotate', 'prob': 1.0, 'degree': 90},
    ],
    ids=lambda step: step['type'],
)
def test_pipelines_that_move_pixels_are_refused_in_tests(voc: Path, step: dict) -> None:
    pipeline = [*TEST[:2], step, TEST[-1]]
    SlotSegDataset(objects_of(voc), 3, pipeline)
    with pytest.raises(ValueError, match=rf"has \['{step['type']}'\].*the whole image"):
        SlotSegDataset(objects_of(voc), 3, pipeline, test_mode=True)


def test_it_needs_mmseg(voc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'mmseg', None)
    with pytest.raises(ImportError, match=r'SlotSegDataset needs mmseg.*mmocl\[segmentation\]'):
        SlotSegDataset(objects_of(voc), 3, TEST)


def test_a_flipped_test_image_is_refused(voc: Path) -> None:
    for pack in ({}, {'meta_keys': ('img_path', 'ori_shape')}):
        pipeline = [
            *TEST[:2], {'type': 'RandomFlip', 'prob': 1.0}, {'type': 'PackSegInputs', **pack},
        ]  # fmt: skip
        dataset = SlotSegDataset(objects_of(voc), 3, pipeline, test_mode=True)
        with pytest.raises(ValueError, match='cropped at random or flipped'):
            dataset[0]


def test_pipelines_that_do_not_fit_are_refused(voc: Path) -> None:
    annotated = [TEST[0], {'type': 'LoadAnnotations'}, *TEST[1:]]
    with pytest.raises(ValueError, match='slots have no class maps'):
        SlotSegDataset(objects_of(voc), 3, annotated)
    dataset = SlotSegDataset(objects_of(voc), 3, TEST[:2])
    with pytest.raises(ValueError, match=r"PackSegInputs as its last step, got \['LoadImageFrom"):
        dataset[0]


def test_other_objects_are_refused(voc: Path) -> None:
    with pytest.raises(ValueError, match='num_slots must be at least 1, got 0'):
        SlotSegDataset(objects_of(voc), 0, TEST)
    with pytest.raises(ValueError, match='expected a config of an ObjectDataset'):
        SlotSegDataset({'data_root': str(voc)}, 3, TEST)
    for key, value in {'pipeline': TEST, 'test_mode': True, 'token_cache': 'x.npz'}.items():
        with pytest.raises(ValueError, match=rf"must not have \['{key}'\]"):
            SlotSegDataset({**objects_of(voc), key: value}, 3, TEST)
    with pytest.raises(ValueError, match='got a ColoredSprites'):
        SlotSegDataset({'type': 'ColoredSprites', 'num_images': 4}, 3, TEST)


def test_real_voc(data_root: Path) -> None:
    objects = objects_of(data_root / 'VOC2012')
    dataset = SlotSegDataset(objects, 7, TEST, test_mode=True, indices=20)
    for i in range(20):
        sample = dataset[i]['data_samples']
        assert sample.gt_objects.masks.shape[1:] == sample.ori_shape
        assert len(sample.gt_objects.masks) >= 1
