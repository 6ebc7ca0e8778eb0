"""CLEVR, CLEVR with masks and CLEVRTex, on small files of their layouts and on real images."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from tiny_data import assert_two_objects

from mmocl.datasets import ClevrMasks, ClevrScenes, ClevrTex

TRAIN = [{'type': 'LoadImage'}, {'type': 'PackSlotInputs'}]
TEST = [{'type': 'LoadImage'}, {'type': 'LoadObjectMasks'}, {'type': 'PackSlotInputs'}]


def with_frame(*frame: int) -> list[dict]:
    return [{'type': 'LoadImage', 'frame': frame}, *TEST[1:]]


def ids(dataset) -> list[str]:
    return [dataset.get_data_info(i)['img_id'] for i in range(len(dataset))]


def test_clevr_masks(tiny_data: Path) -> None:
    root = tiny_data / 'clevr_with_masks'
    numbers = {None: 5, 7: 5, 6: 4, 2: 4}
    for max_objects, number in numbers.items():
        assert len(ClevrMasks(root, 'val', max_objects, TEST, True)) == number
    with pytest.raises(ValueError, match='at most 1 objects'):
        ClevrMasks(root, 'val', 1)
    dataset = ClevrMasks(root, 'val', 6, TEST, test_mode=True)
    assert len(dataset) == 4
    assert dataset.where == f'{root} (val, at most 6 objects)'
    assert_two_objects(dataset, [1, 2], 3)


def test_clevr_masks_needs_the_numbers(tiny_data: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_data / 'clevr_with_masks' / 'val', tmp_path / 'val')
    (folder / 'num_objects.json').write_text('[1]')
    with pytest.raises(ValueError, match=r'num_objects.json does not hold .* each of 5 images'):
        ClevrMasks(tmp_path, 'val', max_objects=6)
    (folder / 'num_objects.json').unlink()
    with pytest.raises(FileNotFoundError, match=r'max_objects=6 needs the numbers of objects'):
        ClevrMasks(tmp_path, 'val', max_objects=6)
    assert len(ClevrMasks(tmp_path, 'val')) == 5
    (folder / 'masks' / 'mask_000002.png').unlink()
    with pytest.raises(FileNotFoundError, match=r'1 of 5 .*\(first: mask_000002.png\)'):
        ClevrMasks(tmp_path, 'val', test_mode=True)


def test_frame_is_the_file_from_there_on(tiny_data: Path) -> None:
    root = tiny_data / 'clevr_with_masks'
    whole = ClevrMasks(root, 'val', 6, TEST, test_mode=True)[0]
    cut = ClevrMasks(root, 'val', 6, with_frame(29, 64, 221, 256), test_mode=True)[0]
    assert torch.equal(cut['inputs'], whole['inputs'][:, 29:221, 64:256])
    sample, masks = cut['data_samples'], whole['data_samples'].gt_objects.masks
    assert torch.equal(sample.gt_objects.masks, masks[:, 29:221, 64:256])
    assert sample.gt_objects.masks.any((1, 2)).all()
    assert sample.ori_shape == sample.img_shape == (192, 192)
    assert sample.frame == (29, 64, 221, 256)
    with pytest.raises(ValueError, match=r'frame \(0, 0, 241, 9\) .* in .*png of 240x320'):
        ClevrMasks(root, 'val', 6, with_frame(0, 0, 241, 9), test_mode=True)[0]


def test_clevrtex(tiny_data: Path) -> None:
    root = tiny_data / 'clevrtex'
    dataset = ClevrTex(root, 'val', pipeline=TEST, test_mode=True)
    assert ids(dataset) == [f'CLEVRTEX_full_{i:06d}' for i in range(4, 8)]
    assert_two_objects(dataset, [1, 2])
    assert ids(ClevrTex(root, 'test', 'camo')) == [f'CLEVRTEX_camo_{i:06d}' for i in range(4)]
    train = ids(ClevrTex(root))
    assert (len(train), train[0]) == (32, 'CLEVRTEX_full_000008')
    assert len(ClevrTex(root, 'all', 'outd')) == 4


def test_bad_clevrtex(tiny_data: Path, tmp_path: Path) -> None:
    root = tiny_data / 'clevrtex'
    with pytest.raises(ValueError, match=r"variant 'outd' .* must be one of \('all',\), got 'test"):
        ClevrTex(root, 'test', 'outd')
    with pytest.raises(ValueError, match=r"variant must be one of \('full',.* got 'fll'"):
        ClevrTex(root, 'test', 'fll')
    shutil.copytree(root / 'clevrtex_outd', tmp_path / 'clevrtex_outd')
    (tmp_path / 'clevrtex_outd' / '1' / 'CLEVRTEX_outd_000003_flat.png').unlink()
    assert len(ClevrTex(tmp_path, 'all', 'outd')) == 4
    with pytest.raises(FileNotFoundError, match=r'1 of 4 .* no mask \(first: CLEVRTEX_outd_000003'):
        ClevrTex(tmp_path, 'all', 'outd', test_mode=True)


def test_clevr_scenes_have_properties_in_training(tiny_data: Path) -> None:
    root = tiny_data / 'CLEVR_v1.0'
    for test_mode in (False, True):
        dataset = ClevrScenes(root, 'val', pipeline=TRAIN, test_mode=test_mode)
        samples = [item['data_samples'] for item in dataset]
        assert [len(sample.gt_objects) for sample in samples] == [0, 1, 2, 3]
        assert samples[0].gt_objects.position.shape == (0, 3)
        objects = samples[2].gt_objects
        assert set(objects.keys()) == {'position', 'size', 'material', 'shape', 'color'}
        assert objects.position.dtype == torch.float32
        want = torch.tensor([[1, -0.5, 0.25], [-1, 0, 0.1]])
        torch.testing.assert_close(objects.position, want)
        names = dataset.metainfo
        for name, values in {
            'size': ['large', 'small'],
            'material': ['metal', 'rubber'],
            'shape': ['sphere', 'cylinder'],
            'color': ['cyan', 'cyan'],
        }.items():
            assert objects[name].dtype == torch.int64
            assert [names[name][i] for i in objects[name]] == values
    assert len(ClevrScenes(root, 'train', max_objects=2)) == 3


def test_clevr_without_scenes(tiny_data: Path) -> None:
    root = tiny_data / 'CLEVR_v1.0'
    dataset = ClevrScenes(root, 'test', pipeline=TRAIN)
    assert dataset.where == f'{root} (test, without scenes)'
    assert len(dataset) == 4
    assert 'gt_objects' not in dataset[0]['data_samples']
    for kwargs in ({'test_mode': True}, {'max_objects': 6}):
        with pytest.raises(FileNotFoundError, match=r"split 'test': no scene file at .*_test_sc"):
            ClevrScenes(root, 'test', **kwargs)


def test_real_clevr_without_scenes(data_root: Path) -> None:
    dataset = ClevrScenes(data_root / 'CLEVR_v1.0', 'test', pipeline=TRAIN)
    assert len(dataset) == 14
    assert dataset[0]['inputs'].shape == (3, 320, 480)


def test_bad_clevr_scenes(tiny_data: Path, tmp_path: Path) -> None:
    root = shutil.copytree(tiny_data / 'CLEVR_v1.0', tmp_path / 'clevr')
    path = root / 'scenes' / 'CLEVR_val_scenes.json'
    content = json.loads(path.read_text())
    content['scenes'][1]['objects'][0]['color'] = 'pink'
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"not in CLEVR's format: ValueError .*expected 'scenes'"):
        ClevrScenes(root, 'val')
    del content['scenes'][1]['objects'][0]['color']
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="not in CLEVR's format: KeyError 'color'"):
        ClevrScenes(root, 'val')
    content['scenes'] = [*content['scenes'][2:], {'image_filename': 'a.png', 'objects': []}]
    path.write_text(json.dumps(content))
    with pytest.raises(FileNotFoundError, match=r'1 of 3 images .* \(first: a.png\)'):
        ClevrScenes(root, 'val')
    with pytest.raises(ValueError, match=r'found no masks for .* with masks, such as'):
        ClevrScenes(root, 'train', pipeline=TEST, test_mode=True)[0]
