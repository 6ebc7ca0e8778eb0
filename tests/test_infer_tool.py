"""``tools/infer.py`` as a user calls it."""

import json
import runpy
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image
from pycocotools.coco import COCO

from mmocl.apis import UNSEEN, SlotInferencer
from mmocl.apis.output_files import output_names
from mmocl.registry import MODELS
from mmocl.visualization.drawing import palette
from tools import infer, publish_model
from tools.slot_rows import SlotRows

ROOT = Path(__file__).resolve().parents[1]
CONFIG = """
model = dict(
    type='SlotAutoencoder',
    backbone=dict(type='ConvEncoder', channels=8, strides=(2,)),
    slot_head=dict(
        type='SlotAttention',
        slot_dim=12,
        initializer=dict(type='GaussianSlots', num_slots=3),
    ),
    decoder=dict(type='MLPDecoder', grid=(8, 8), hidden_channels=16),
    target=dict(type='PixelTarget', patch_size=2),
    losses=[dict(type='ReconstructionLoss')],
)
test_dataloader = dict(
    dataset=dict(
        type='ImageFolder',
        pipeline=[
            dict(type='LoadImage'),
            dict(type='ResizeCrop', size=16, crop='center'),
            dict(type='PackSlotInputs'),
        ],
    )
)
"""
SHAPES = {'a.jpg': (24, 30), 'a.png': (30, 24), 'b.jpg': (1, 1), 'sub/a.jpg': (40, 20)}


@pytest.fixture(scope='module')
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Config and checkpoint of a model that was not trained, but whose masks have edges."""
    folder = tmp_path_factory.mktemp('model')
    (folder / 'config.py').write_text(CONFIG)
    torch.manual_seed(0)
    network = MODELS.build(Config.fromfile(folder / 'config.py').model)
    for parameter in network.decoder.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    torch.save({'state_dict': network.state_dict()}, folder / 'model.pth')
    return str(folder / 'config.py'), str(folder / 'model.pth')


@pytest.fixture
def images(tmp_path) -> Path:
    rng = np.random.default_rng(0)
    for name, (height, width) in SHAPES.items():
        path = tmp_path / 'images' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8)).save(path)
    return tmp_path / 'images'


@pytest.fixture
def run(model, monkeypatch, capsys):
    """Run the tool in this process and return its exit code and what it printed."""

    def call(images: object, out: Path, *flags: str) -> tuple[int, str, str]:
        return run_with(model, images, out, *flags)

    def run_with(words, images: object, out: Path, *flags: str) -> tuple[int, str, str]:
        argv = ['tools/infer.py', str(images), *words, '--out-dir', str(out), '--device', 'cpu']
        monkeypatch.setattr(sys, 'argv', [*argv, *flags])
        code = infer.main()
        return code, *capsys.readouterr()

    call.model = run_with
    return call


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob('*') if path.is_file()}


def test_all_kinds_of_results_agree(model, images, run, tmp_path) -> None:
    out = tmp_path / 'new/out'
    code, log, errors = run(images, out, '--batch-size', '2')
    assert (code, errors) == (0, '')
    assert f'4 pictures (fit aspect, decoder masks) are in {out}: masks, overlays, slots' in log
    names = {'a.jpg': 'a.jpg', 'a.png': 'a.png', 'b.jpg': 'b', 'sub/a.jpg': 'sub/a'}
    assert files(out) == {
        'slots.json',
        'slots.npz',
        *(f'overlays/{name}.jpg' for name in names.values()),
        *(f'masks/{name}.png' for name in names.values()),
    }
    inferencer = SlotInferencer(*model, device='cpu', show_progress=False)
    expected = inferencer(images, batch_size=2)['predictions']
    rows = np.load(out / 'slots.npz')
    assert rows['names'].tolist() == [p['name'] for p in expected] == sorted(SHAPES)
    for key in ('slots', 'weights', 'active'):
        np.testing.assert_array_equal(rows[key], np.stack([p[key] for p in expected]))
    coco = COCO(out / 'slots.json')
    ids_of = {image['file_name']: i for i, image in coco.imgs.items()}
    for arrays in expected:
        name = arrays['name']
        with Image.open(out / 'masks' / f'{names[name]}.png') as image:
            assert image.mode == 'P'
            np.testing.assert_array_equal(np.array(image), arrays['label_map'])
            colors = np.array(image.getpalette()).reshape(-1, 3)
            np.testing.assert_array_equal(colors[:UNSEEN], palette(UNSEEN))
        ids = np.full(SHAPES[name], UNSEEN)
        for annotation in coco.imgToAnns[ids_of[name]]:
            ids[coco.annToMask(annotation).astype(bool)] = annotation['slot']
        np.testing.assert_array_equal(ids, arrays['label_map'])
        with Image.open(out / 'overlays' / f'{names[name]}.jpg') as image:
            assert image.size == SHAPES[name][::-1]
    info = coco.dataset['info']
    assert (info['fit'], info['masks'], info['seed']) == ('aspect', 'decoder', 0)
    assert info['num_masks'] == len(coco.anns) > 4


def test_models_by_file_and_by_name(model, images, run, tmp_path, monkeypatch) -> None:
    config, checkpoint = model
    file, index = str(tmp_path / 'ours.safetensors'), str(tmp_path / 'index.yml')
    words = [checkpoint, '--config', config, '--out', file, '--index', index]
    monkeypatch.setattr(sys, 'argv', ['publish_model.py', *words])
    publish_model.main()
    monkeypatch.setenv('MMOCL_MODEL_INDEX', index)
    found = []
    for i, words in enumerate([model, (config, file), (file,), ('ours',)]):
        out = tmp_path / str(i)
        assert run.model(words, images, out, '--save', 'npz')[0] == 0
        found.append(np.load(out / 'slots.npz')['slots'])
    for slots in found[1:]:
        np.testing.assert_array_equal(slots, found[0])
    with pytest.raises(ValueError, match=r'config\.py brings no weights; give a checkpoint'):
        run.model((config,), images, tmp_path / 'out')


def test_options(model, images, run, tmp_path) -> None:
    flags = '--save npz --num-slots 5 --num-iters 1 --fit config --masks attention --seed 3'
    code, log, _ = run(f'{images}/*.jpg', tmp_path / 'out', *flags.split())
    assert code == 0
    assert '2 pictures (fit config, attention masks)' in log
    assert files(tmp_path / 'out') == {'slots.npz', 'overlays/a.jpg', 'overlays/b.jpg'}
    rows = np.load(tmp_path / 'out/slots.npz')
    inferencer = SlotInferencer(*model, device='cpu', show_progress=False)
    options = {'num_slots': 5, 'num_iters': 1, 'fit': 'config', 'seed': 3}
    (arrays,) = inferencer(images / 'a.jpg', **options)['predictions']
    np.testing.assert_array_equal(rows['slots'][0], arrays['slots'])
    assert rows['slots'].shape == (2, 5, 12)
    run(images / 'a.jpg', tmp_path / 'out', '--save')
    # Files of the call before do not stay as if they were of this one.
    assert files(tmp_path / 'out') == {'overlays/a.jpg', 'overlays/b.jpg'}
    run(images / 'b.jpg', tmp_path / 'out')
    assert {'slots.json', 'slots.npz'} < files(tmp_path / 'out')
    run(images / 'b.jpg', tmp_path / 'out', '--save', 'npz')
    assert 'slots.json' not in files(tmp_path / 'out')
    run(images / 'b.jpg', tmp_path / 'new', '--cfg-options', 'model.slot_head.num_iters=0')
    (arrays,) = inferencer(images / 'b.jpg', num_iters=0)['predictions']
    np.testing.assert_array_equal(np.load(tmp_path / 'new/slots.npz')['slots'][0], arrays['slots'])


def test_a_corrupt_image_is_reported_and_the_others_are_done(images, run, tmp_path) -> None:
    content = (images / 'a.png').read_bytes()
    (images / 'a.gif').write_bytes(content[: len(content) // 2])
    (images / 'sub/z.jpg').touch()
    code, log, errors = run(images, tmp_path / 'out', '--batch-size', '3')
    assert code == 1
    assert '4 pictures' in log
    assert '2 of 6 could not be read' in errors
    assert f'could not be read: cannot decode image {images}/a.gif: ' in errors
    failed = json.loads((tmp_path / 'out/failed.json').read_text())
    assert [entry['path'] for entry in failed] == [f'{images}/a.gif', f'{images}/sub/z.jpg']
    assert len(COCO(tmp_path / 'out/slots.json').imgs) == 4
    assert np.load(tmp_path / 'out/slots.npz')['names'].tolist() == sorted(SHAPES)
    code, _, errors = run(images / 'a.gif', tmp_path / 'alone')
    assert code == 1
    assert '1 of 1 could not be read' in errors
    assert files(tmp_path / 'alone') == {'failed.json'}
    for path in (images / 'a.gif', images / 'sub/z.jpg'):
        path.unlink()
    code, _, errors = run(images, tmp_path / 'out', '--max-pixels', '719')
    assert code == 1
    assert '3 of 4 could not be read' in errors
    assert 'expected at most 719 (max_pixels=None reads any number; ' in errors
    assert 'on a command line --max-pixels 0)' in errors
    assert f'could not be read: {images}/a.jpg has 30 x 24' in errors
    assert run(images, tmp_path / 'out', '--max-pixels', '0')[0] == 0
    assert 'failed.json' not in files(tmp_path / 'out')


def test_a_video_becomes_a_video(model, run, tmp_path) -> None:
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (5, 25, 38, 3), np.uint8)
    writer = cv2.VideoWriter(
        str(tmp_path / 'clip.avi'), cv2.VideoWriter.fourcc(*'MJPG'), 12, (38, 25)
    )
    for frame in frames:
        writer.write(frame)
    writer.release()
    code, log, _ = run(tmp_path / 'clip.avi', tmp_path / 'out', '--batch-size', '2')
    assert code == 0
    assert '5 pictures' in log
    assert files(tmp_path / 'out') == {'overlays/clip.mp4', 'slots.npz'}
    rows = np.load(tmp_path / 'out/slots.npz')
    assert rows['names'].tolist() == [f'clip.avi/{i:06d}' for i in range(5)]
    video = cv2.VideoCapture(str(tmp_path / 'out/overlays/clip.mp4'))
    assert round(video.get(cv2.CAP_PROP_FPS)) == 12
    shapes = []
    while (item := video.read())[0]:
        shapes.append(item[1].shape)
    assert shapes == [(24, 38, 3)] * 5
    run(tmp_path / 'clip.avi', tmp_path / 'out', '--save', 'png')
    assert len(list((tmp_path / 'out/masks/clip.avi').glob('*.png'))) == 5


def write_clip(path: Path, color: tuple[int, int, int], num_frames: int) -> None:
    """A video of one colour, RGB."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'MJPG'), 10, (32, 24))
    for _ in range(num_frames):
        writer.write(np.full((24, 32, 3), color[::-1], np.uint8))
    writer.release()


def read_clip(path: Path) -> list[np.ndarray]:
    """The frames of a video, RGB."""
    video, frames = cv2.VideoCapture(str(path)), []
    while (item := video.read())[0]:
        frames.append(item[1][:, :, ::-1])
    return frames


def test_every_video_has_its_frames_in_their_colours(model, run, tmp_path) -> None:
    write_clip(tmp_path / 'in_a.avi', (230, 0, 0), 2)
    write_clip(tmp_path / 'in_b.avi', (0, 0, 230), 3)
    assert run(f'{tmp_path}/*.avi', tmp_path / 'out', '--batch-size', '4')[0] == 0
    inferencer = SlotInferencer(*model, device='cpu', show_progress=False)
    for name, num_frames in (('in_a', 2), ('in_b', 3)):
        drawn = inferencer(tmp_path / f'{name}.avi')['visualization']
        frames = read_clip(tmp_path / f'out/overlays/{name}.mp4')
        assert len(frames) == num_frames
        # The coder keeps colours to a few levels; red and blue differ by many.
        for frame, picture in zip(frames, drawn, strict=True):
            assert np.abs(frame.mean((0, 1)) - picture.mean((0, 1))).max() < 12


def test_results_never_lie_among_the_pictures(images, run, tmp_path) -> None:
    for given, out in (
        (images, images / 'out'),
        (images, images),
        (images / 'a.jpg', images),
        (f'{images}/sub/*', images),
    ):
        with pytest.raises(ValueError, match='lie in each other'):
            run(given, out)
    (tmp_path / 'empty').mkdir()
    with pytest.raises(ValueError, match='no image in the folder'):
        run(tmp_path / 'empty', tmp_path / 'out')
    with pytest.raises(FileNotFoundError, match='No image at'):
        run(images / 'absent.jpg', tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


def test_an_interrupted_call_leaves_no_half_file(images, run, tmp_path, monkeypatch) -> None:
    add = infer.Writer.add

    def stopped(self, picture, sample) -> None:
        if self.num_pictures == 2:
            raise KeyboardInterrupt
        add(self, picture, sample)

    monkeypatch.setattr(infer.Writer, 'add', stopped)
    with pytest.raises(KeyboardInterrupt):
        run(images, tmp_path / 'out')
    left = files(tmp_path / 'out')
    assert left
    assert all(name.startswith(('masks/', 'overlays/')) for name in left)


def test_results_are_written_as_they_come(images, run, tmp_path, monkeypatch) -> None:
    stream = SlotInferencer.stream
    seen = []

    def watched(self, *args, **options):
        for found in stream(self, *args, **options):
            seen.append(len(list((tmp_path / 'out').rglob('*.jpg'))))
            yield found

    monkeypatch.setattr(SlotInferencer, 'stream', watched)
    run(images, tmp_path / 'out')
    assert seen == [0, 1, 2, 3]


def test_names_of_files() -> None:
    assert output_names(['a.jpg', 'sub/a.jpg', 'b.c.png']) == ['a', 'sub/a', 'b.c']
    assert output_names(['a.jpg', 'a.png', 'b.png']) == ['a.jpg', 'a.png', 'b']
    # On some file systems these are one file.
    assert output_names(['A.jpg', 'a.png', 'b.png']) == ['A.jpg', 'a.png', 'b']
    names = ['a.jpg', 'a.png', 'a.jpg.png', 'b.png']
    assert len(set(output_names(names))) == 4
    # The file of 'a' would be the folder of the other.
    assert output_names(['a.png', 'a.jpg/x.png']) == ['a.png', 'a.jpg/x']
    assert output_names([]) == []
    assert output_names(['a.jpg', 'a.jpg']) == ['a', 'a']


def test_rows_are_those_of_numpy(tmp_path) -> None:
    arrays = [
        {'x': np.full((2, 3), i, np.float32), 'y': np.array(i % 2 == 0)[None]} for i in range(4)
    ]
    with SlotRows(tmp_path / 'rows.npz') as rows:
        for i, row in enumerate(arrays):
            rows.add(f'näme {i}', row)
        assert not (tmp_path / 'rows.npz').exists()
        rows.finish()
    with np.load(tmp_path / 'rows.npz', allow_pickle=False) as file:
        assert file['names'].tolist() == [f'näme {i}' for i in range(4)]
        for key in ('x', 'y'):
            np.testing.assert_array_equal(file[key], np.stack([row[key] for row in arrays]))
    assert files(tmp_path) == {'rows.npz'}


def test_the_exit_code_of_the_command(model, images, tmp_path, monkeypatch) -> None:
    (images / 'broken.png').write_bytes(b'broken')
    words = [str(images), *model, '--out-dir', str(tmp_path / 'out'), '--device', 'cpu']
    monkeypatch.setattr(sys, 'argv', ['tools/infer.py', *words, '--save', 'json'])
    for code in (1, 0):
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(ROOT / 'tools/infer.py'), run_name='__main__')
        assert ended.value.code == code
        assert len(COCO(tmp_path / 'out/slots.json').imgs) == 4
        (images / 'broken.png').unlink(missing_ok=True)
