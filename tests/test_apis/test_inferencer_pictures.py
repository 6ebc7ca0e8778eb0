"""What an inferencer takes and gives: pictures of all kinds and shapes, options, failures."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.structures import InstanceData, PixelData
from PIL import ExifTags, Image
from small_models import build_inferencer, model_config, noise_image
from torch.nn import functional

from mmocl.apis import UNSEEN, SlotInferencer, slot_overlay
from mmocl.apis.inferencer import require_whole
from mmocl.datasets.transforms import CorruptImageError

SHAPES = {'a.png': (24, 30), 'sub/b.png': (40, 20), 'sub/c.png': (40, 20), 'd.png': (16, 16)}


@pytest.fixture(scope='module')
def inferencer() -> SlotInferencer:
    """Slots that start at random, any number of them, pictures of any size."""
    return build_inferencer(model_config())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for i, (name, shape) in enumerate(SHAPES.items()):
        path = tmp_path / 'in' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise_image(*shape, seed=i)).save(path)
    return tmp_path / 'in'


def _same(first: dict, second: dict, exactly: bool = True) -> None:
    assert first.keys() == second.keys()
    for key in first.keys() - {'name'}:
        if exactly:
            np.testing.assert_array_equal(first[key], second[key], err_msg=key)
        elif key != 'label_map':
            np.testing.assert_allclose(first[key], second[key], 1e-4, 1e-4, err_msg=key)


def test_arrays_of_a_prediction(inferencer) -> None:
    image = noise_image(24, 50)
    result = inferencer(image, keep_steps=True, num_iters=4)
    (arrays,) = result['predictions']
    shapes = {
        key: (value.shape, value.dtype.name) for key, value in arrays.items() if key != 'name'
    }
    assert shapes == {
        'label_map': ((24, 50), 'uint8'),
        'masks': ((3, 8, 17), 'float32'),  # 24 pixels become 16, 50 become 34, in patches of two
        'attention': ((3, 8, 17), 'float32'),
        'slots': ((3, 12), 'float32'),
        'weights': ((3,), 'float32'),
        'active': ((3,), 'bool'),
        'steps': ((4, 3, 8, 17), 'float32'),
    }
    assert arrays['name'] == 'array_0'
    np.testing.assert_array_equal(arrays['steps'][-1], arrays['attention'])
    np.testing.assert_allclose(arrays['weights'], arrays['attention'].mean((1, 2)), atol=1e-6)
    assert result['visualization'][0].shape == (24, 50, 3)
    assert result['failed'] == []
    of_attention = inferencer(image, masks='attention', num_iters=4)
    (attention,) = of_attention['predictions']
    for drawn, ids in ((result, arrays['label_map']), (of_attention, attention['label_map'])):
        np.testing.assert_array_equal(drawn['visualization'][0], slot_overlay(image, ids))
    np.testing.assert_array_equal(attention['masks'], arrays['attention'])
    assert (attention['label_map'] != arrays['label_map']).any()
    (sample,) = inferencer(image, return_datasamples=True, draw=False)['predictions']
    assert sample.ori_shape == (24, 50)


def test_weights_of_a_mixture_are_its_own() -> None:
    config = model_config()
    config.model.slot_head.update(type='ProbabilisticSlotAttention')
    mixture = build_inferencer(config)
    image = noise_image(16, 16)
    (arrays,) = mixture(image)['predictions']
    (sample,) = mixture(image, return_datasamples=True)['predictions']
    np.testing.assert_array_equal(arrays['weights'], sample.pred_slots.weight.numpy())
    np.testing.assert_allclose(arrays['weights'].sum(), 1, atol=1e-5)


def test_every_kind_of_input_gives_the_same(inferencer, folder) -> None:
    of_folder = inferencer(folder, draw=False)['predictions']
    assert [arrays['name'] for arrays in of_folder] == sorted(SHAPES)
    for arrays in of_folder:
        assert arrays['label_map'].shape == SHAPES[arrays['name']]
        path = folder / arrays['name']
        for given in (str(path), path, [path], np.array(Image.open(path))):
            _same(inferencer(given, draw=False)['predictions'][0], arrays)
    pattern = inferencer(f'{folder}/**/*.png', draw=False)['predictions']
    assert [arrays['name'] for arrays in pattern] == sorted(SHAPES)
    below = inferencer(f'{folder}/sub/*.png', draw=False)['predictions']
    assert [arrays['name'] for arrays in below] == ['b.png', 'c.png']
    image = noise_image(8, 8)
    mixed = inferencer([folder / 'sub', image, folder / 'a.png'], draw=False)['predictions']
    assert [p['name'] for p in mixed] == ['sub/b.png', 'sub/c.png', 'array_1', 'a.png']
    grey = noise_image(20, 20)[:, :, 0]
    of_grey = inferencer([grey, np.repeat(grey[:, :, None], 3, axis=2)], draw=False)
    _same(*of_grey['predictions'])


def test_results_do_not_depend_on_other_images(inferencer, folder) -> None:
    images = [noise_image(*shape, seed=i) for i, shape in enumerate([(16, 16)] * 5 + [(20, 32)])]
    alone = [inferencer(image, draw=False)['predictions'][0] for image in images]
    for order in ([0, 1, 2, 3, 4, 5], [5, 3, 0, 5, 1, 2, 4]):
        for batch_size in (1, 2, 4, 9):
            torch.manual_seed(batch_size)  # which must not matter
            state = torch.get_rng_state()
            given = [images[i] for i in order]
            together = inferencer(given, batch_size=batch_size, draw=False)['predictions']
            for i, arrays in zip(order, together, strict=True):
                _same(alone[i], arrays, exactly=batch_size == 1)
            assert torch.equal(torch.get_rng_state(), state)
    other = inferencer(images[0], seed=1, draw=False)['predictions'][0]
    assert not np.allclose(other['slots'], alone[0]['slots'], atol=1e-3)


def test_batches_hold_images_that_are_shown_in_one_shape(inferencer, monkeypatch) -> None:
    shapes = []
    forward = inferencer.forward

    def counted(batch: dict, *options) -> list:
        shapes.append(tuple(batch['inputs'].shape))
        return forward(batch, *options)

    monkeypatch.setattr(inferencer, 'forward', counted)
    sizes = [*[(16, 16)] * 2, (18, 18), (16, 16), (20, 32), (32, 20), (32, 21)]
    inferencer([noise_image(*size) for size in sizes], batch_size=3)
    assert [(shape[0], *shape[2:]) for shape in shapes] == [
        (3, 16, 16),
        (1, 16, 16),
        (1, 16, 26),
        (1, 26, 16),
        (1, 24, 16),
    ]
    shapes.clear()
    inferencer([noise_image(*size) for size in sizes], batch_size=4, fit='config')
    assert [shape[0] for shape in shapes] == [4, 3]


def test_numbers_of_slots_and_updates(inferencer) -> None:
    image = noise_image(20, 20)
    (more,) = inferencer(image, num_slots=5, num_iters=1, keep_steps=True)['predictions']
    assert more['slots'].shape == (5, 12)
    assert more['steps'].shape[:2] == (1, 5)
    (usual,) = inferencer(image)['predictions']
    (three,) = inferencer(image, num_iters=3)['predictions']
    _same(usual, three)
    assert not np.allclose(
        usual['slots'], inferencer(image, num_iters=2)['predictions'][0]['slots']
    )
    # The first slots start the same, however many follow.
    start = [inferencer(image, num_slots=k, num_iters=0)['predictions'][0] for k in (2, 5)]
    np.testing.assert_array_equal(start[0]['slots'], start[1]['slots'][:2])
    for options, message in (
        ({'num_slots': 0}, 'needs at least one slot, got num_slots=0'),
        ({'num_iters': -1}, 'num_iters'),
        ({'batch_size': 0}, 'batch_size must be at least 1, got 0'),
        ({'masks': 'best'}, "masks must be 'decoder', 'attention' or None, got 'best'"),
        ({'fit': 'crop'}, r"fit must be one of \('aspect', 'config'\) or None, got 'crop'"),
        ({'num_slots': 65}, '65 slots cannot share 64 tokens'),
        ({'max_pixels': 0}, 'max_pixels must be at least 1'),
    ):
        with pytest.raises(ValueError, match=message):
            inferencer(image, **options)


@pytest.mark.parametrize(
    'initializer',
    [
        {'type': 'LearnedSlots', 'num_slots': 3, 'sigma': 0.5},
        {'type': 'BufferSlots', 'num_slots': 3},
        {'type': 'TransformerSlots', 'num_slots': 3, 'in_channels': 8},
        {'type': 'GaussianSlots', 'num_slots': 3, 'shared': False},
    ],
)
def test_every_start_is_the_same_in_every_call(initializer) -> None:
    network = build_inferencer(model_config(initializer))
    images = [noise_image(16, 16, seed=i) for i in range(3)]
    together = network(images, batch_size=3)['predictions']
    for image, arrays in zip(images, together, strict=True):
        _same(network(image)['predictions'][0], arrays, exactly=False)
    if initializer['type'] != 'TransformerSlots':
        with pytest.raises(ValueError, match='has 3 slots of its own, so it cannot give 4'):
            network(images[0], num_slots=4)


def _shown(inputs: torch.Tensor, samples: list, **options) -> list:
    """A model whose two slots are what is red in the picture, and all else."""
    for image, sample in zip(inputs, samples, strict=True):
        red = functional.avg_pool2d(((image[:1] > 0) & (image[1:2] < 0)).float(), 2)
        sample.pred_masks = PixelData(data=torch.cat([1 - red, red]))
        sample.pred_attn = PixelData(data=torch.cat([red, 1 - red]))
        sample.pred_slots = InstanceData(slots=torch.zeros(2, 4), active=torch.ones(2).bool())
    return samples


def _scene(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """A picture with a red box, and where that is."""
    there = np.zeros((height, width), bool)
    there[height // 4 : height // 2, width // 8 : width // 2] = True
    image = np.full((height, width, 3), 90, np.uint8)
    image[there] = (250, 10, 10)
    return image, there


@pytest.mark.parametrize('fit', ['aspect', 'config'])
@pytest.mark.parametrize('shape', [(96, 160), (150, 90), (64, 64), (40, 46), (37, 160), (300, 60)])
def test_objects_stay_where_they_are(inferencer, monkeypatch, shape, fit) -> None:
    monkeypatch.setattr(inferencer.model, 'predict', _shown)
    image, there = _scene(*shape)
    (arrays,) = inferencer(image, fit=fit)['predictions']
    ids = arrays['label_map']
    assert ids.shape == shape
    seen = ids != UNSEEN
    assert seen.all() == (fit == 'aspect' or shape[0] == shape[1])
    overlap = ((ids == 1) & there).sum() / ((ids == 1) | (there & seen)).sum()
    assert overlap > 0.8


@pytest.mark.parametrize('orientation', range(1, 9))
def test_maps_fit_the_upright_photograph(inferencer, monkeypatch, tmp_path, orientation) -> None:
    monkeypatch.setattr(inferencer.model, 'predict', _shown)
    image, there = _scene(96, 160)
    turned = {
        1: image,
        2: image[:, ::-1],
        3: image[::-1, ::-1],
        4: image[::-1],
        5: image.swapaxes(0, 1),
        6: np.rot90(image),
        7: image[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(image, -1),
    }
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    stored = np.ascontiguousarray(turned[orientation])
    Image.fromarray(stored).save(tmp_path / 'a.png', exif=exif)
    result = inferencer(tmp_path / 'a.png')
    ids = result['predictions'][0]['label_map']
    assert ids.shape == (96, 160) == result['visualization'][0].shape[:2]
    assert ((ids == 1) & there).sum() / ((ids == 1) | there).sum() > 0.8


def test_pictures_of_every_mode_and_size(inferencer, tmp_path) -> None:
    rgb = Image.fromarray(noise_image(12, 20))
    for mode in ('L', 'LA', 'RGBA', 'CMYK', 'P', '1', 'I;16'):
        image = Image.new(mode, (20, 12), 1000) if mode == 'I;16' else rgb.convert(mode)
        image.save(tmp_path / f'{mode.replace(";", "")}.tiff')
    Image.new('RGB', (1, 1), 'red').save(tmp_path / 'pixel.png')
    Image.new('RGB', (1, 300), 'red').save(tmp_path / 'line.png')
    frames = [Image.new('RGB', (9, 7), color) for color in ('red', 'blue')]
    frames[0].save(tmp_path / 'animated.gif', save_all=True, append_images=frames[1:])
    result = inferencer(tmp_path, out_dir=tmp_path / 'out')
    shapes = {p['name']: p['label_map'].shape for p in result['predictions']}
    assert result['failed'] == []
    assert len(shapes) == 10
    assert {shapes.pop(name) for name in ('pixel.png', 'line.png', 'animated.gif')} == {
        (1, 1),
        (300, 1),
        (7, 9),
    }
    assert set(shapes.values()) == {(12, 20)}
    assert Image.open(tmp_path / 'out/line.jpg').size == (1, 300)


def test_corrupt_images_are_left_out_and_listed(inferencer, folder) -> None:
    good = inferencer(folder, draw=False)['predictions']
    content = (folder / 'sub/b.png').read_bytes()
    for name in ('sub/bb.png', 'aa.jpg', 'z.png'):
        (folder / name).write_bytes(content[: len(content) // 2])
    (folder / 'empty.webp').touch()
    for batch_size in (1, 3):
        result = inferencer(folder, batch_size=batch_size)
        assert [p['name'] for p in result['predictions']] == sorted(SHAPES)
        for mine, arrays in zip(good, result['predictions'], strict=True):
            _same(mine, arrays, exactly=batch_size == 1)
        failed = {str(Path(f['path']).relative_to(folder)): f['reason'] for f in result['failed']}
        assert list(failed) == ['aa.jpg', 'empty.webp', 'sub/bb.png', 'z.png']
        for name, reason in failed.items():
            assert reason.startswith(f'cannot decode image {folder / name}: ')
        assert len(result['visualization']) == 4
    with pytest.raises(CorruptImageError, match=r'cannot decode image .*aa.jpg'):
        inferencer(folder / 'aa.jpg')
    only = inferencer([folder / 'aa.jpg'])
    assert (only['predictions'], len(only['failed'])) == ([], 1)


def test_failures_keep_their_place_in_a_stream(inferencer, folder) -> None:
    (folder / 'aa.jpg').touch()
    (folder / 'sub/bb.png').touch()
    names = sorted([*SHAPES, 'aa.jpg', 'sub/bb.png'])
    for batch_size in (1, 2, 9):
        found = list(inferencer.stream(folder, batch_size=batch_size))
        assert [picture.name for picture, _ in found] == names
        assert [picture.name for picture, sample in found if sample is not None] == sorted(SHAPES)
        assert all(sample.img_id == picture.name for picture, sample in found if sample is not None)


def test_enormous_images_are_refused(inferencer, folder) -> None:
    with pytest.raises(ValueError, match=r'a.png has 30 x 24 = 720 pixels; expected at most 719'):
        inferencer(folder / 'a.png', max_pixels=719)
    result = inferencer(folder, max_pixels=719)
    assert [p['name'] for p in result['predictions']] == ['d.png']
    assert len(result['failed']) == 3
    assert len(inferencer(folder, max_pixels=None)['predictions']) == 4


def test_inputs_that_are_no_pictures(inferencer, tmp_path) -> None:
    (tmp_path / 'notes.txt').touch()
    (tmp_path / '._a.jpg').touch()
    with pytest.raises(
        ValueError, match=r'no image in the folder .* \.bmp, \.gif, \.jpeg, \.jpg, '
    ):
        inferencer(tmp_path)
    for pattern, found in ((f'{tmp_path}/*.jpg', 'nothing'), (f'{tmp_path}/*', '1 other files')):
        with pytest.raises(FileNotFoundError, match=f'the pattern matches {found}'):
            inferencer(pattern)
    with pytest.raises(FileNotFoundError, match=r"No image at '.*absent.jpg'"):
        inferencer(['d.png', str(tmp_path / 'absent.jpg')][1:])
    picture = np.zeros((8, 6, 3), np.uint8)
    for array in (picture / 255, picture[None], picture[..., :2], picture.transpose(2, 0, 1)[:0]):
        with pytest.raises(ValueError, match=r'array 1 .* of shape .*; expected uint8 of shape'):
            inferencer([picture, array])
    for given, named in ((3, 'int'), ('', "''"), (torch.zeros(3, 90, 90), 'Tensor')):
        with pytest.raises(ValueError, match=rf'inputs must be a path, .*, got {named}$'):
            inferencer(given)
    for empty in ([], ()):
        with pytest.raises(ValueError, match='inputs is an empty list'):
            inferencer(empty)


def test_options_that_are_no_whole_numbers() -> None:
    require_whole({'seed': 3, 'num_slots': np.int64(2)})
    for value in (2.5, 'a', None, True):
        with pytest.raises(ValueError, match=f'num_slots must be a whole number, got {value!r}'):
            require_whole({'num_slots': value})


def test_a_file_named_like_a_pattern_is_a_file(inferencer, tmp_path) -> None:
    Image.fromarray(noise_image(8, 9)).save(tmp_path / 'a[1].png')
    (arrays,) = inferencer(str(tmp_path / 'a[1].png'))['predictions']
    assert (arrays['name'], arrays['label_map'].shape) == ('a[1].png', (8, 9))


def _video(path: Path, frames: list[np.ndarray]) -> None:
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'MJPG'), 10, (width, height))
    for frame in frames:
        writer.write(np.ascontiguousarray(frame[:, :, ::-1]))
    writer.release()


def test_videos_give_their_frames(inferencer, monkeypatch, tmp_path) -> None:
    image, there = _scene(48, 80)
    _video(tmp_path / 'clip.avi', [image, image[:, ::-1], image])
    monkeypatch.setattr(inferencer.model, 'predict', _shown)
    result = inferencer(tmp_path / 'clip.avi', batch_size=2, out_dir=tmp_path / 'out')
    assert [p['name'] for p in result['predictions']] == [f'clip.avi/{i:06d}' for i in range(3)]
    for arrays, place in zip(result['predictions'], (there, there[:, ::-1], there), strict=True):
        found = arrays['label_map'] == 1
        assert (found & place).sum() / (found | place).sum() > 0.7
    assert len(list((tmp_path / 'out/clip.avi').iterdir())) == 3
    with pytest.raises(
        ValueError, match=r'clip.avi has 80 x 48 = 3,840 pixels; expected at most 9'
    ):
        inferencer(tmp_path / 'clip.avi', max_pixels=9)
    (tmp_path / 'bad.mp4').write_bytes(b'no video')
    with pytest.raises(CorruptImageError, match=r'cannot decode video .*bad.mp4: no frame'):
        inferencer(tmp_path / 'bad.mp4')
    both = inferencer(f'{tmp_path}/*')
    assert (len(both['predictions']), len(both['failed'])) == (3, 1)


def test_a_video_that_ends_too_early_is_told(inferencer, tmp_path) -> None:
    _video(tmp_path / 'clip.avi', [noise_image(48, 80, seed=i) for i in range(12)])
    content = (tmp_path / 'clip.avi').read_bytes()
    (tmp_path / 'clip.avi').write_bytes(content[: len(content) // 2])
    result = inferencer(tmp_path / 'clip.avi', draw=False)
    num_read = len(result['predictions'])
    assert 0 < num_read < 10
    (failure,) = result['failed']
    assert failure['path'] == str(tmp_path / 'clip.avi')
    assert failure['reason'].endswith(f'{num_read} of 12 frames can be read')


def test_a_stream_reads_no_more_than_a_batch_ahead(inferencer, folder, monkeypatch) -> None:
    read = []
    import mmocl.apis.pictures as pictures

    real = pictures.read_photo
    monkeypatch.setattr(
        pictures, 'read_photo', lambda path, limit: read.append(path) or real(path, limit)
    )
    images = [folder / 'd.png'] * 9
    stream = inferencer.stream(images, batch_size=2)
    assert not read
    picture, sample = next(stream)
    assert len(read) == 3
    assert picture.image.shape == (16, 16, 3)
    assert sample.img_id == 'd.png'
    assert sum(1 for _ in stream) == 8


def test_models_of_one_size_say_which_fit_works() -> None:
    canvas = {'type': 'ConvDecoder', 'channels': 4, 'broadcast_size': (8, 8), 'strides': (2,)}
    config = model_config(decoder=canvas, target={'type': 'PixelTarget'})
    fixed = build_inferencer(config)
    image = noise_image(20, 30)
    message = r"fit='aspect' cannot be had: model.decoder, a ConvDecoder, .*; fit='config' shows"
    with pytest.raises(ValueError, match=message):
        fixed(image, fit='aspect')
    (arrays,) = fixed(image)['predictions']
    assert arrays['masks'].shape == (3, 8, 8)
    assert (arrays['label_map'] == UNSEEN).any()
    framed = model_config()
    framed.test_dataloader.dataset.pipeline[0].frame = (0, 0, 16, 16)
    with pytest.raises(
        ValueError, match=r"'aspect' .* cuts frame=\(0, 0, 16, 16\) out of every fil"
    ):
        build_inferencer(framed)(image, fit='aspect')
    (arrays,) = build_inferencer(framed)(image)['predictions']
    assert (arrays['label_map'][:16, :16] != UNSEEN).all()
    assert (arrays['label_map'] == UNSEEN).sum() == 20 * 30 - 256
    unsized = model_config()
    del unsized.test_dataloader.dataset.pipeline[1]
    with pytest.raises(ValueError, match='test pipeline has no ResizeCrop whose size'):
        build_inferencer(unsized)(image, fit='aspect')
    without = Config({'model': model_config().model})
    with pytest.raises(ValueError, match=r'the config has no test_dataloader.dataset'):
        build_inferencer(without)


def test_a_frame_that_does_not_lie_in_one_picture_is_a_failure_of_that(folder) -> None:
    config = model_config()
    config.test_dataloader.dataset.pipeline[0].frame = (0, 0, 20, 20)
    result = build_inferencer(config)(folder)
    assert [p['name'] for p in result['predictions']] == ['a.png', 'sub/b.png', 'sub/c.png']
    assert 'does not lie in' in result['failed'][0]['reason']


def test_the_fit_of_the_config_is_the_pipeline_of_the_test(inferencer, folder) -> None:
    from mmocl.registry import DATASETS

    dataset = model_config().test_dataloader.dataset
    dataset.pipeline.pop(2)
    data = DATASETS.build({**dataset, 'data_root': str(folder), 'test_mode': True})
    for i, (_, sample) in enumerate(inferencer.stream(folder, fit='config')):
        batch = {'inputs': data[i]['inputs'][None], 'data_samples': [data[i]['data_samples']]}
        (want,) = inferencer.forward(batch)
        assert torch.equal(sample.pred_masks.data, want.pred_masks.data)
        assert torch.equal(sample.pred_slots.slots, want.pred_slots.slots)


def test_both_fits_are_the_same_at_the_size_of_the_config(inferencer) -> None:
    for side in (16, 40):
        image = noise_image(side, side)
        (whole,) = inferencer(image, fit='aspect')['predictions']
        _same(whole, inferencer(image, fit='config')['predictions'][0])
