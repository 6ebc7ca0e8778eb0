"""``tools/export_masks.py`` as a user calls it."""

import contextlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import mmcv
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmseg.datasets import BaseSegDataset
from PIL import Image
from pycocotools.coco import COCO

from mmocl.apis import UNSEEN, SlotInferencer, slot_map
from mmocl.registry import MODELS
from mmocl.visualization.drawing import palette
from tools import export_masks

ROOT = Path(__file__).resolve().parents[1]
NUM_SLOTS = 3
CONFIG = f"""
model = dict(
    type='SlotAutoencoder',
    backbone=dict(type='ConvEncoder', channels=8, strides=(2,)),
    slot_head=dict(
        type='SlotAttention',
        slot_dim=12,
        initializer=dict(type='LearnedSlots', num_slots={NUM_SLOTS}),
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
            dict(type='LoadObjectMasks'),
            dict(type='PackSlotInputs'),
        ],
    )
)
"""
SHAPES = {'b.jpg': (24, 30), 'sub/a.jpg': (40, 20), 'sub/c.JPG': (16, 16)}


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
        noise = rng.integers(0, 256, (height, width, 3), np.uint8)
        Image.fromarray(noise).save(path, 'JPEG')
    return tmp_path / 'images'


@pytest.fixture
def export(model, monkeypatch):
    """Run the tool in this process and return what it printed."""

    def run(images: Path, out: Path, form: str, *flags: str) -> str:
        argv = ['tools/export_masks.py', str(images), *model, '--out', str(out), '--format', form]
        monkeypatch.setattr(sys, 'argv', [*argv, '--device', 'cpu', *flags])
        with contextlib.redirect_stdout(io.StringIO()) as log:
            export_masks.main()
        return log.getvalue()

    return run


def expected(model: tuple[str, str], path: Path, source: str = 'decoder') -> np.ndarray:
    inferencer = SlotInferencer(*model, device='cpu', show_progress=False)
    (sample,) = inferencer([str(path)], return_datasamples=True)['predictions']
    return slot_map(sample, source)


def coco_map(coco: COCO, image_id: int) -> np.ndarray:
    """The map of slots that annotations stand for; they must not overlap."""
    image = coco.imgs[image_id]
    ids = np.full((image['height'], image['width']), UNSEEN)
    for annotation in coco.imgToAnns[image_id]:
        mask = coco.annToMask(annotation).astype(bool)
        assert (ids[mask] == UNSEEN).all()
        assert mask.sum() == annotation['area'] > 0
        assert annotation['slot'] < NUM_SLOTS
        columns, rows = (np.flatnonzero(mask.any(axis)) for axis in (0, 1))
        left, top, width, height = annotation['bbox']
        assert (left, top) == (columns[0], rows[0])
        assert (left + width, top + height) == (columns[-1] + 1, rows[-1] + 1)
        ids[mask] = annotation['slot']
    return ids


def test_coco_round_trip(model, images, export, tmp_path) -> None:
    out = tmp_path / 'new/slots.json'
    log = export(images, out, 'coco', '--batch-size', '2')
    coco = COCO(out)
    names = {image['file_name']: i for i, image in coco.imgs.items()}
    assert names.keys() == SHAPES.keys()
    num_slots = set()
    for name, image_id in names.items():
        assert (coco.imgs[image_id]['height'], coco.imgs[image_id]['width']) == SHAPES[name]
        ids = coco_map(coco, image_id)
        np.testing.assert_array_equal(ids, expected(model, images / name))
        num_slots.add(len(np.unique(ids[ids != UNSEEN])))
    assert num_slots & {2, 3}  # there is something to compare
    assert coco.cats == {1: {'id': 1, 'name': 'slot'}}
    for annotation in coco.anns.values():
        assert (annotation['category_id'], annotation['iscrowd']) == (1, 0)
        assert isinstance(annotation['segmentation']['counts'], str)
    assert f'{len(coco.anns)} decoder masks of 3 images are in {out}' in log
    info = coco.dataset['info']
    assert (info['config'], info['checkpoint']) == model
    assert (info['masks'], info['num_slots'], info['seed']) == ('decoder', NUM_SLOTS, 0)
    assert info['command'].startswith(f'python tools/export_masks.py {images} ')
    assert info['versions']['mmocl']


def test_mmseg_reads_the_pngs(model, images, export, tmp_path) -> None:
    os.remove(images / 'sub/c.JPG')  # the dataset takes one suffix
    out = tmp_path / 'pngs'
    log = export(images, out, 'png')
    assert f'of 2 images are in {out}' in log
    assert json.loads((out / 'info.json').read_text())['num_slots'] == NUM_SLOTS
    DefaultScope.get_instance('mmseg-data', scope_name='mmseg')
    dataset = BaseSegDataset(
        metainfo={'classes': [f'slot {i}' for i in range(NUM_SLOTS)]},
        data_prefix={'img_path': str(images), 'seg_map_path': str(out)},
        pipeline=[
            {'type': 'LoadImageFromFile'},
            {'type': 'LoadAnnotations'},
            {'type': 'PackSegInputs'},
        ],
    )
    assert len(dataset) == 2
    for item in dataset:
        name = Path(item['data_samples'].img_path).relative_to(images)
        ids = item['data_samples'].gt_sem_seg.data[0].numpy()
        assert ids.shape == item['inputs'].shape[1:] == SHAPES[str(name)]
        np.testing.assert_array_equal(ids, expected(model, images / name))
        assert (ids == UNSEEN).any()
    with Image.open(out / 'b.png') as image:
        assert image.mode == 'P'
        colors = np.array(image.getpalette()).reshape(-1, 3)
    np.testing.assert_array_equal(colors[:UNSEEN], palette(UNSEEN))
    assert colors[UNSEEN].tolist() == [128] * 3


def test_photographs_with_an_orientation_keep_the_pixels_of_their_file(
    model, export, tmp_path
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / 'images').mkdir()
    path = tmp_path / 'images/photo.jpg'
    Image.new('RGB', (30, 20), 'red').save(path, exif=exif)
    export(path, tmp_path / 'out', 'png')
    ids = mmcv.imread(str(tmp_path / 'out/photo.png'), 'unchanged', backend='pillow')
    assert ids.shape == (20, 30)
    assert mmcv.imread(str(path)).shape[:2] == (30, 20)
    assert mmcv.imread(str(path), 'color_ignore_orientation').shape[:2] == (20, 30)


def test_attention_is_exported_if_asked_for_or_if_there_is_no_other(
    model, images, export, tmp_path
) -> None:
    log = export(images / 'b.jpg', tmp_path / 'out.json', 'coco', '--masks', 'attention')
    assert 'attention masks of 1 images' in log
    ids = coco_map(COCO(tmp_path / 'out.json'), 1)
    np.testing.assert_array_equal(ids, expected(model, images / 'b.jpg', 'attention'))


def test_a_decoder_without_masks(model, images, export, tmp_path, monkeypatch) -> None:
    config = Config.fromfile(model[0])
    network = MODELS.build(config.model)
    predict = type(network).predict

    def without_masks(self, inputs, data_samples=None):
        samples = predict(self, inputs, data_samples)
        for sample in samples:
            del sample.pred_masks
        return samples

    monkeypatch.setattr(type(network), 'predict', without_masks)
    export(images / 'b.jpg', tmp_path / 'out.json', 'coco')
    assert json.loads((tmp_path / 'out.json').read_text())['info']['masks'] == 'attention'
    with pytest.raises(ValueError, match=r"'decoder' needs 'pred_masks'.*'b' lacks.*'attention'"):
        export(images / 'b.jpg', tmp_path / 'out.json', 'coco', '--masks', 'decoder')


def test_small_masks_are_left_out_of_both(model, images, export, tmp_path) -> None:
    ids = expected(model, images / 'b.jpg')
    areas = np.bincount(ids[ids != UNSEEN], minlength=NUM_SLOTS)
    least = int(areas[areas > 0].min()) + 1
    assert least <= areas.max()
    ids[np.isin(ids, np.flatnonzero(areas < least))] = UNSEEN
    flags = ('--min-area', str(least))
    export(images / 'b.jpg', tmp_path / 'out.json', 'coco', *flags)
    np.testing.assert_array_equal(coco_map(COCO(tmp_path / 'out.json'), 1), ids)
    export(images / 'b.jpg', tmp_path / 'out', 'png', *flags)
    with Image.open(tmp_path / 'out/b.png') as image:
        np.testing.assert_array_equal(np.array(image), ids)


def test_nothing_is_dropped_or_overwritten_silently(images, export, tmp_path) -> None:
    with pytest.raises(ValueError, match=r'--out .*images/slots lies in the folder of the images'):
        export(images, images / 'slots', 'png')
    with pytest.raises(ValueError, match='lies in the folder of the images'):
        export(images / 'b.jpg', images, 'png')
    Image.new('RGB', (20, 20)).save(images / 'b.png')
    with pytest.raises(ValueError, match=r'b\.jpg and b\.png of .* would both become .*out/b\.png'):
        export(images, tmp_path / 'out', 'png')
    export(images, tmp_path / 'out.json', 'coco')
    assert len(COCO(tmp_path / 'out.json').imgs) == 4
    (images / 'broken.png').write_bytes((images / 'b.png').read_bytes()[:40])
    for form, out in (('coco', 'new.json'), ('png', 'new')):
        (images / 'b.jpg').unlink(missing_ok=True)
        with pytest.raises(ValueError, match=r'cannot decode image .*broken\.png'):
            export(images, tmp_path / out, form)
    assert not (tmp_path / 'new.json').exists()


def test_bad_input_is_named(images, export, tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match='IMAGES: neither a file nor a folder at'):
        export(tmp_path / 'absent', tmp_path / 'out', 'png')
    (tmp_path / 'empty').mkdir()
    with pytest.raises(ValueError, match=r'no images in .*empty .*\.jpg, \.jpeg, \.png'):
        export(tmp_path / 'empty', tmp_path / 'out', 'png')
    with pytest.raises(ValueError, match=r'--format coco writes one \.json file, got --out'):
        export(images, tmp_path / 'out', 'coco')
    (tmp_path / 'file').write_text('')
    with pytest.raises(ValueError, match=r'writes a folder, but --out .*file is a file'):
        export(images, tmp_path / 'file', 'png')
    with pytest.raises(ValueError, match='--batch-size must be at least 1, got 0'):
        export(images, tmp_path / 'out', 'png', '--batch-size', '0')
    steps = 'test_dataloader.dataset.pipeline.1.crop=random'
    with pytest.raises(ValueError, match=r"has crop 'random', so masks cannot be put back"):
        export(images, tmp_path / 'out', 'png', '--cfg-options', steps)


def test_from_a_shell(model, images, tmp_path) -> None:
    env = {**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'}
    command = [
        sys.executable, 'tools/export_masks.py', str(images), *model, '--out',
        str(tmp_path / 'out'), '--format', 'png', '--device', 'cpu', '--cfg-options',
        'test_dataloader.dataset.pipeline.1.crop=squash',
    ]  # fmt: skip
    result = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    assert '3/3' in result.stdout
    assert result.stdout.splitlines()[-1].endswith(f'of 3 images are in {tmp_path / "out"}')
    written = {str(path.relative_to(tmp_path / 'out')) for path in tmp_path.glob('out/**/*.png')}
    assert written == {'b.png', 'sub/a.png', 'sub/c.png'}
    with Image.open(tmp_path / 'out/b.png') as image:
        assert (np.array(image) < NUM_SLOTS).all()
