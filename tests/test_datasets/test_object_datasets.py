import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.runner import Runner
from PIL import Image
from pycocotools.coco import COCO

from mmocl.datasets import CocoObjects, ImageFolder, VocObjects, image_folder
from mmocl.registry import DATASETS

TRAIN = [
    {'type': 'LoadImage', 'min_side': 24},
    {'type': 'ResizeCrop', 'size': 24, 'crop': 'random'},
    {'type': 'RandomFlip', 'prob': 0.5},
    {'type': 'PackSlotInputs'},
]
TEST = [
    {'type': 'LoadImage'},
    {'type': 'ResizeCrop', 'size': 24},
    {'type': 'LoadObjectMasks'},
    {'type': 'PackSlotInputs'},
]


SIZE = (60, 40)  # width, height of the first image


def _annotations(root: Path) -> Path:
    return root / 'annotations' / 'instances_val2017.json'


def _truncate(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 7 // 10])


def _check_against_pycocotools(dataset: CocoObjects, ann_file: Path) -> int:
    reference, num_objects = COCO(str(ann_file)), 0
    for i in range(len(dataset)):
        sample = dataset[i]['data_samples']
        anns = reference.imgToAnns[sample.img_id]
        objects = sample.gt_objects
        assert objects.masks.shape == (len(anns), *sample.ori_shape)
        assert objects.labels.tolist() == [ann['category_id'] for ann in anns]
        assert objects.crowd.tolist() == [bool(ann['iscrowd']) for ann in anns]
        for mask, ann in zip(objects.masks, anns, strict=True):
            np.testing.assert_array_equal(mask.numpy(), reference.annToMask(ann).astype(bool))
        num_objects += len(anns)
    return num_objects


def test_coco_masks(coco: Path) -> None:
    dataset = CocoObjects(coco, 'val2017', TEST, test_mode=True)
    assert _check_against_pycocotools(dataset, _annotations(coco)) == 4
    first, empty = dataset[0], dataset[2]['data_samples']
    assert first['inputs'].shape == (3, 24, 24)
    assert first['inputs'].dtype == torch.uint8
    sample = first['data_samples']
    assert sample.gt_objects.masks.dtype == torch.bool
    assert sample.gt_objects.masks[0].sum() == 250
    assert 'gt_void' not in sample
    assert empty.gt_objects.masks.shape == (0, 33, 47)
    assert sample.metainfo == {
        'img_id': 10,
        'img_path': str(coco / 'val2017' / '0.jpg'),
        'ori_shape': (40, 60),
        'img_shape': (24, 24),
        'crop': 'center',
    }
    assert dataset.metainfo['classes'] == ('a', 'b', 'c')
    assert dataset.metainfo['category_ids'] == (1, 3, 90)


def test_real_coco(data_root: Path) -> None:
    root = data_root / 'coco'
    dataset = CocoObjects(root, 'val2017', TEST, test_mode=True)
    assert len(dataset) == 67
    assert _check_against_pycocotools(dataset, _annotations(root)) > 300
    assert len(CocoObjects(root, pipeline=TRAIN)) == 153


def test_training_never_decodes_a_mask(
    coco: Path, voc: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise AssertionError('decoded a mask')

    monkeypatch.setattr('pycocotools.mask.decode', fail)
    monkeypatch.setattr('pycocotools.mask.frPyObjects', fail)
    monkeypatch.setattr('mmocl.datasets.transforms.load_object_masks._read_ids', fail)
    datasets = CocoObjects(coco, 'val2017', TRAIN), VocObjects(voc, 'trainaug', TRAIN)
    for dataset in datasets:
        for i in range(len(dataset)):
            assert dataset.get_data_info(i).keys() <= {
                *('img_path', 'img_id', 'height', 'width', 'sample_idx')
            }
            item = dataset[i]
            assert item['inputs'].shape == (3, 24, 24)
            assert 'gt_objects' not in item['data_samples']
    with pytest.raises(ValueError, match='LoadObjectMasks, but test_mode is False'):
        CocoObjects(coco, 'val2017', TEST)


def test_voc_masks(voc: Path) -> None:
    dataset = VocObjects(voc, 'val', TEST, test_mode=True)
    sample = dataset[0]['data_samples']
    assert (sample.img_id, sample.ori_shape) == ('im0', (40, 60))
    objects = sample.gt_objects
    assert objects.labels.tolist() == [15, 15]
    assert objects.masks.sum((1, 2)).tolist() == [100, 180]
    assert objects.masks[0, 5:15, 5:15].all()
    assert not objects.crowd.any()
    assert sample.gt_void.data.shape == (1, 40, 60)
    assert sample.gt_void.data.sum() == 20
    empty = dataset[1]['data_samples'].gt_objects
    assert empty.masks.shape == (0, 50, 30)
    assert len(dataset.metainfo['classes']) == 20


def test_voc2007(voc: Path) -> None:
    root = voc.rename(voc.parent / 'VOC2007')
    # Its lists of segmentation have one column, but those of single classes have two.
    (root / 'ImageSets' / 'Segmentation' / 'trainval.txt').write_text('im0  1\nim1 -1\n')
    dataset = VocObjects(root, 'trainval', TEST, test_mode=True)
    assert [dataset[i]['data_samples'].img_id for i in range(2)] == ['im0', 'im1']
    assert dataset[0]['data_samples'].gt_objects.labels.tolist() == [15, 15]


def test_real_voc(data_root: Path) -> None:
    root = data_root / 'VOC2012'
    dataset = VocObjects(root, 'val', TEST, test_mode=True, indices=20)
    for i in range(len(dataset)):
        sample = dataset[i]['data_samples']
        name = f'{sample.img_id}.png'
        ids = np.array(Image.open(root / 'SegmentationObject' / name))
        classes = np.array(Image.open(root / 'SegmentationClass' / name))
        objects = sample.gt_objects
        assert len(objects) == len(np.unique(ids[(ids != 0) & (ids != 255)])) > 0
        for mask, label in zip(objects.masks.numpy(), objects.labels, strict=True):
            assert (classes[mask] == int(label)).mean() > 0.95
        np.testing.assert_array_equal(sample.gt_void.data[0].numpy(), ids == 255)
    assert len(VocObjects(root, 'trainaug')) == 172


def test_image_folder(voc: Path) -> None:
    (voc / 'JPEGImages' / 'notes.txt').write_text('no image')
    (voc / 'JPEGImages' / '._im0.jpg').write_bytes(b'of macOS')
    assert len(ImageFolder(voc)) == 7
    dataset = ImageFolder(voc, ['JPEGImages'], TRAIN)
    ids = [dataset[i]['data_samples'].img_id for i in range(len(dataset))]
    assert ids == ['JPEGImages/im0.jpg', 'JPEGImages/im1.jpg', 'JPEGImages/im2.jpg']
    with pytest.raises(FileNotFoundError, match=r'no folder at .*/nowhere'):
        ImageFolder(voc, ['nowhere'])
    (voc / 'empty').mkdir()
    with pytest.raises(ValueError, match=r'no images in .*empty.*\.gif, \.jpeg, \.jpg, \.png'):
        ImageFolder(voc, ['empty'])


def test_image_folder_sorts_by_path_and_not_by_name(tmp_path: Path) -> None:
    names = ['a/z.png', 'b/a.png', 'b/c/b.png', 'c.png']
    for name in reversed(names):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new('RGB', (2, 2)).save(tmp_path / name)
    data = ImageFolder(tmp_path)
    assert [data.get_data_info(i)['img_id'] for i in range(len(data))] == names


def test_image_folder_holds_out_every_tenth_image(tmp_path: Path) -> None:
    for i in range(21):
        Image.new('RGB', (4, 4)).save(tmp_path / f'{i:02}.{"webp" if i % 2 else "jpg"}')
    names = {
        split: [info['img_id'] for info in ImageFolder(tmp_path, split=split).load_data_list()]
        for split in ('all', 'train', 'val')
    }
    assert names['val'] == ['00.jpg', '10.jpg', '20.jpg']
    assert sorted(names['train'] + names['val']) == names['all']
    with pytest.raises(ValueError, match=r"split must be one of .*'val'\), got 'test'"):
        ImageFolder(tmp_path, split='test')
    (lonely := tmp_path / 'lonely').mkdir()
    Image.new('RGB', (4, 4)).save(lonely / 'a.png')
    with pytest.raises(ValueError, match=r"no images in .*split 'train'"):
        ImageFolder(lonely, split='train')


def test_image_folder_leaves_out_files_that_are_no_images(tmp_path: Path, monkeypatch) -> None:
    for i in range(21):
        Image.new('RGB', (4, 4)).save(tmp_path / f'{i:02}.jpg')
    (tmp_path / '10.jpg').write_bytes(b'no image')
    steps = [{'type': 'LoadPhoto'}, {'type': 'PackSlotInputs'}]
    log: list[str] = []
    monkeypatch.setattr(image_folder, 'print_log', lambda text, **_: log.append(text))
    data = ImageFolder(tmp_path, pipeline=steps, test_mode=True, split='val')
    assert [data[i]['data_samples'].img_id for i in range(len(data))] == ['00.jpg', '20.jpg']
    (warning,) = log
    assert warning.startswith('left out 1 of 3 images')
    assert f'cannot decode image {tmp_path}/10.jpg' in warning


def test_runner_dataloader(coco: Path) -> None:
    loader = Runner.build_dataloader(
        {
            'batch_size': 3,
            'num_workers': 1,
            'sampler': {'type': 'DefaultSampler', 'shuffle': False},
            'dataset': {
                'type': 'CocoObjects',
                'data_root': str(coco),
                'split': 'val2017',
                'pipeline': TEST,
                'test_mode': True,
            },
        }
    )
    (batch,) = list(loader)
    assert [len(s.gt_objects) for s in batch['data_samples']] == [3, 1, 0]


@pytest.mark.parametrize('name', ['CocoObjects', 'VocObjects', 'ImageFolder'])
def test_missing_data_root(name: str) -> None:
    with pytest.raises(FileNotFoundError, match='data_root: no folder at /nowhere'):
        DATASETS.build({'type': name, 'data_root': '/nowhere'})


def test_bad_coco_folders(coco: Path) -> None:
    path = _annotations(coco)
    with pytest.raises(FileNotFoundError, match=r"split 'val': no annotation file at .*_val.json"):
        CocoObjects(coco, 'val')
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, 'images': []}))
    with pytest.raises(ValueError, match=r'no images in .*\(val2017\)'):
        CocoObjects(coco, 'val2017')
    path.write_text('[]')
    with pytest.raises(ValueError, match="expected 'images' and 'annotations'"):
        CocoObjects(coco, 'val2017')
    path.write_text('{"images"')
    with pytest.raises(ValueError, match='is no valid JSON'):
        CocoObjects(coco, 'val2017')
    path.write_text(json.dumps({**content, 'images': [{'id': 1, 'file_name': '0.jpg'}]}))
    with pytest.raises(ValueError, match="not in COCO's format: an entry lacks 'height'"):
        CocoObjects(coco, 'val2017')
    path.write_text(json.dumps(content))
    for i in (1, 2):
        (coco / 'val2017' / f'{i}.jpg').unlink()
    with pytest.raises(FileNotFoundError, match=r'2 of 3 images .* \(first: 1.jpg\)'):
        CocoObjects(coco, 'val2017')
    (coco / 'val2017').rename(coco / 'other')
    with pytest.raises(FileNotFoundError, match=r'images: no folder at .*/val2017'):
        CocoObjects(coco, 'val2017')


@pytest.mark.parametrize(
    ('segmentation', 'message'),
    [
        ([], 'no polygon'),
        ({'size': [4, 4], 'counts': [16]}, r'RLE of size \[4, 4\]'),
        ({'size': [40, 60], 'counts': [7]}, 'RLE of 7 pixels'),
        (None, 'expected polygons or RLE of 40x60'),
    ],
)
def test_bad_segmentation(coco: Path, segmentation: object, message: str) -> None:
    path = _annotations(coco)
    content = json.loads(path.read_text())
    content['annotations'][0]['segmentation'] = segmentation
    path.write_text(json.dumps(content))
    dataset = CocoObjects(coco, 'val2017', TEST, test_mode=True)
    with pytest.raises(ValueError, match=rf'category 3 in .*0.jpg .*{message}'):
        dataset[0]


def test_annotation_of_another_size(coco: Path) -> None:
    Image.new('RGB', (20, 10)).save(coco / 'val2017' / '2.jpg')
    dataset = CocoObjects(coco, 'val2017', TEST, test_mode=True)
    with pytest.raises(ValueError, match=r'2.jpg is \(10, 20\) .* annotation says \(33, 47\)'):
        dataset[2]


def test_bad_voc_folders(voc: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"split 'test'.*has \['trainaug', 'val'\]"):
        VocObjects(voc, 'test')
    with pytest.raises(FileNotFoundError, match=r'1 of 2 .*SegmentationObject \(first: im2.png\)'):
        VocObjects(voc, 'trainaug', TEST, test_mode=True)
    write = voc / 'ImageSets' / 'Segmentation' / 'none.txt'
    write.write_text('\n')
    with pytest.raises(ValueError, match=r'no images in .*\(none\)'):
        VocObjects(voc, 'none')
    Image.new('RGB', SIZE).save(voc / 'SegmentationObject' / 'im0.png')
    with pytest.raises(ValueError, match=r'im0.png has mode RGB'):
        VocObjects(voc, 'val', TEST, test_mode=True)[0]
    (voc / 'SegmentationObject' / 'im0.png').write_bytes(b'text')
    with pytest.raises(ValueError, match=r'cannot decode mask .*im0.png'):
        VocObjects(voc, 'val', TEST, test_mode=True)[0]
    Image.new('L', SIZE, 3).save(voc / 'SegmentationObject' / 'im0.png')
    Image.new('L', SIZE).save(voc / 'SegmentationClass' / 'im0.png')
    with pytest.raises(ValueError, match=r'object 3 of .*im0.png has no class'):
        VocObjects(voc, 'val', TEST, test_mode=True)[0]
    Image.new('L', (3, 3)).save(voc / 'SegmentationClass' / 'im0.png')
    with pytest.raises(ValueError, match='expected the same size'):
        VocObjects(voc, 'val', TEST, test_mode=True)[0]


def test_corrupt_image_is_skipped_in_training(coco: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _truncate(coco / 'val2017' / '1.jpg')
    messages: list[str] = []
    monkeypatch.setattr(
        'mmocl.datasets.object_dataset.print_log', lambda text, **_: messages.append(text)
    )
    dataset = CocoObjects(coco, 'val2017', TRAIN)
    for _ in range(3):
        assert dataset[1]['data_samples'].img_id in (10, 12)
    assert dataset.num_corrupt >= 3
    assert messages[0] == f'CocoObjects: 3 images of {coco} (val2017)'
    assert messages[1].startswith(f'skipped 1 corrupt images so far: {coco}/val2017/1.jpg (cannot')
    assert messages[3].startswith('skipped 3 corrupt images so far')


def test_corrupt_image_raises_in_testing(coco: Path) -> None:
    _truncate(coco / 'val2017' / '1.jpg')
    dataset = CocoObjects(coco, 'val2017', TEST, test_mode=True)
    with pytest.raises(ValueError, match=r'cannot decode image .*1.jpg: .*truncated'):
        dataset[1]


def test_only_corrupt_images(coco: Path) -> None:
    for i in range(3):
        (coco / 'val2017' / f'{i}.jpg').write_bytes(b'')
    with pytest.raises(Exception, match='Cannot find valid image after 20'):
        CocoObjects(coco, 'val2017', TRAIN)[0]
