from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image
from torchvision.transforms import functional as tvf

from mmocl.datasets.transforms import (
    LoadImage,
    PackSlotInputs,
    ResizeCrop,
    ResizeWhole,
    read_image,
)
from mmocl.registry import TRANSFORMS

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'


def _image(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.stack([y * 255 // height, x * 255 // width, (x + y) % 256], -1).astype(np.uint8)


def test_reduced_decode_keeps_the_short_side(tmp_path: Path) -> None:
    path = str(tmp_path / 'a.jpg')
    Image.fromarray(_image(500, 800)).save(path)
    for min_side, want in ((500, 500), (251, 500), (250, 250), (126, 250), (100, 125), (9, 63)):
        out = LoadImage(min_side)({'img_path': path})
        assert out['img'].shape[0] == want
        assert out['img_shape'] == out['img'].shape[:2]
        assert out['ori_shape'] == (500, 800)
    assert LoadImage()({'img_path': path})['img'].shape == (500, 800, 3)


def test_frame_cuts_the_file(tmp_path: Path) -> None:
    path = str(tmp_path / 'a.png')
    pixels = _image(20, 30)
    Image.fromarray(pixels).save(path)
    out = ResizeCrop(8, 'squash')(LoadImage(frame=[2, 3, 10, 11])({'img_path': path}))
    np.testing.assert_array_equal(out['img'], pixels[2:10, 3:11])
    assert out['ori_shape'] == (8, 8)
    assert PackSlotInputs()(out)['data_samples'].frame == (2, 3, 10, 11)


@pytest.mark.parametrize('mode', ['L', 'P', 'RGBA', 'CMYK', '1', 'I;16'])
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ('a.jpg' if mode == 'CMYK' else 'a.png')
    Image.new(mode, (8, 6)).save(path)
    image, size = read_image(str(path), 2)
    assert (image.mode, size) == ('RGB', (6, 8))


def test_missing_and_corrupt_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r'no image at .*none.jpg'):
        read_image(str(tmp_path / 'none.jpg'))
    (tmp_path / 'text.jpg').write_text('text')
    with pytest.raises(ValueError, match=r'cannot decode image .*text.jpg: cannot identify'):
        read_image(str(tmp_path / 'text.jpg'))


@pytest.mark.parametrize('size', [(61, 90), (90, 61), (32, 32), (20, 31)])
def test_centre_crop_is_torchvisions(size: tuple[int, int]) -> None:
    pixels = _image(*size)
    out = ResizeCrop(32)({'img': pixels})
    bicubic = tvf.InterpolationMode.BICUBIC
    want = tvf.center_crop(tvf.resize(Image.fromarray(pixels), 32, bicubic), 32)
    np.testing.assert_array_equal(out['img'], np.asarray(want))
    assert (out['img_shape'], out['crop']) == ((32, 32), 'center')


@pytest.mark.parametrize('interpolation', ['bilinear', 'bicubic'])
@pytest.mark.parametrize('size', [(427, 640), (640, 427), (224, 300), (100, 120)])
def test_both_backends_resize_alike(size: tuple[int, int], interpolation: str) -> None:
    coarse = Image.fromarray(_image(size[0] // 8, size[1] // 8))
    pixels = np.asarray(coarse.resize(size[::-1], Image.Resampling.BILINEAR))
    images = []
    for backend in ('pillow', 'torch'):
        step = ResizeCrop(224, 'center', interpolation, backend)
        images.append(step({'img': pixels})['img'].astype(int))
    difference = np.abs(images[0] - images[1])
    assert difference.max() <= 2
    assert (difference > 0).mean() < 0.02


def test_training_decodes_no_fewer_pixels_than_it_shows(tmp_path: Path) -> None:
    found = 0
    for path in sorted((CONFIGS / '_base_/datasets').glob('*.py')):
        dataset = Config.fromfile(path).train_dataloader.dataset
        if dataset.type not in ('CocoObjects', 'CocoPanoptic', 'VocObjects', 'Ecssd', 'Flowers17'):
            continue  # no JPEGs
        found += 1
        load, crop = (dict(step) for step in dataset.pipeline[:2])
        assert load['min_side'] == crop['size'], path.name
        for height, width in ((480, 640), (640, 427), (500, 333), (1200, 1600), (200, 300)):
            image = Image.new('RGB', (width, height))
            image.save(tmp_path / 'a.jpg')
            decoded = LoadImage(load['min_side'])({'img_path': str(tmp_path / 'a.jpg')})['img']
            assert min(decoded.shape[:2]) >= min(crop['size'], height, width)
            half = min(height, width) >= 2 * crop['size']
            assert (decoded.shape[0] < height) == half
    assert found == 7


def test_squash_and_random_crop() -> None:
    pixels = _image(32, 200)
    squashed = ResizeCrop(32, 'squash', 'bilinear')({'img': pixels})
    assert squashed['img'].shape == (32, 32, 3)
    assert squashed['img'][0, -1, 1] > 240
    starts = set()
    for _ in range(50):
        out = ResizeCrop(32, 'random')({'img': pixels})
        start = int(np.flatnonzero(pixels[0, :, 2] == out['img'][0, 0, 2])[0])
        np.testing.assert_array_equal(out['img'], pixels[:, start : start + 32])
        starts.add(start)
    assert len(starts) > 20


def test_random_flip_of_mmcv_works_unchanged() -> None:
    pixels = _image(8, 8)
    out = TRANSFORMS.build({'type': 'RandomFlip', 'prob': 1.0})({'img': pixels})
    packed = PackSlotInputs()(out)
    want = torch.from_numpy(pixels[:, ::-1].copy()).permute(2, 0, 1)
    assert torch.equal(packed['inputs'], want)
    assert packed['inputs'].is_contiguous()


@pytest.mark.parametrize('change', [{'crop': 'random'}, {'flip': True}])
def test_ground_truth_of_a_moved_image(change: dict) -> None:
    with pytest.raises(ValueError, match='expected no random transform in a pipeline with ground'):
        PackSlotInputs()({'img': _image(4, 4), 'gt_objects': {}, **change})


@pytest.mark.parametrize(
    ('cfg', 'message'),
    [
        ({'type': 'ResizeCrop', 'size': 8, 'backend': 'cv2'}, r'backend must be one of .*cv2'),
        (
            {
                **{'type': 'ResizeCrop', 'size': 8, 'backend': 'torch'},
                'interpolation': 'nearest',
            },
            "got backend='torch' and interpolation='nearest'",
        ),
        ({'type': 'LoadImage', 'min_side': 0}, 'min_side must be at least 1 or None, got 0'),
        ({'type': 'LoadImage', 'frame': (4, 0, 4, 9)}, r'0 <= top < bottom .* got \(4, 0, 4, 9\)'),
        ({'type': 'LoadImage', 'frame': (0, 0, 9)}, r'frame must be .* got \(0, 0, 9\)'),
        (
            {'type': 'LoadImage', 'frame': (0, 0, 9, 9), 'min_side': 8},
            r'frame \(0, 0, 9, 9\) .* min_side=8',
        ),
        ({'type': 'ResizeCrop', 'size': 0}, 'size must be at least 1, got 0'),
        ({'type': 'ResizeCrop', 'size': 8, 'crop': 'left'}, "crop must be one of .*got 'left'"),
        (
            {'type': 'ResizeCrop', 'size': 8, 'interpolation': 'cubic'},
            "interpolation must be one of .*got 'cubic'",
        ),
    ],
)
def test_bad_arguments(cfg: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TRANSFORMS.build(cfg)


def test_masks_need_ground_truth() -> None:
    with pytest.raises(ValueError, match=r'found no masks for a.jpg; expected'):
        TRANSFORMS.build({'type': 'LoadObjectMasks'})({'img_path': 'a.jpg'})


@pytest.mark.parametrize(
    ('shape', 'multiple', 'want'),
    [
        ((480, 640), 14, (224, 294)),  # 298.7 becomes 21 patches
        ((640, 480), 14, (294, 224)),
        ((100, 100), 16, (224, 224)),
        ((1, 1), 32, (224, 224)),
        ((300, 900), 1, (224, 672)),
        ((300, 3000), 16, (96, 896)),  # four times the side, the short side in proportion
        ((2, 3000), 16, (16, 896)),
    ],
)
def test_whole_pictures_keep_their_aspect(shape, multiple, want) -> None:
    pixels = _image(*shape)
    results = ResizeWhole(224, multiple)({'img': pixels, 'ori_shape': shape})
    assert results['img'].shape == (*want, 3)
    assert results['img_shape'] == want
    assert results['crop'] == 'squash'
    assert results['ori_shape'] == shape


def test_a_square_shown_whole_is_the_centre_crop() -> None:
    for side in (30, 224, 301):
        pixels = _image(side, side)
        whole = ResizeWhole(224, 14)({'img': pixels})['img']
        np.testing.assert_array_equal(whole, ResizeCrop(224)({'img': pixels})['img'])


def test_wrong_arguments_of_resize_whole() -> None:
    for key, value in {'size': 0, 'multiple': 0, 'max_ratio': 0.5}.items():
        with pytest.raises(ValueError, match=f'{key} must be at least 1, got {value}'):
            ResizeWhole(**{'size': 8, key: value})
    with pytest.raises(ValueError, match=r'interpolation must be one of .*, got'):
        ResizeWhole(8, interpolation='lanczos')
