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
from tools import export_masks, publish_model
from tools.slot_files import write_coco

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

    def run(
        images: Path,
        out: Path,
        form: str,
        *flags: str,
        config: Path | None = None,
        checkpoint: Path | None = None,
    ) -> str:
        argv = ['tools/export_masks.py', str(images)]
        argv += [str(config or model[0]), str(checkpoint or model[1])]
        argv += ['--out', str(out), '--format', form, '--device', 'cpu']
        monkeypatch.setattr(sys, 'argv', [*argv, *flags])
        with contextlib.redirect_stdout(io.StringIO()) as log:
            export_masks.main()
        return log.getvalue()

    return run


def expected(model: tuple[str, str], path: Path, source: str = 'decoder') -> np.ndarray:
    inferencer = SlotInferencer(*model, device='cpu', show_progress=False)
    (sample,) = inferencer([str(path)], return_datasamples=True, fit='config')['predictions']
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
    assert (info['num_images'], info['num_masks']) == (3, len(coco.anns))
    assert info['command'].startswith(f'python tools/export_masks.py {images} ')
    assert info['versions']['mmocl']


def test_mmseg_reads_the_pngs(model, images, export, tmp_path) -> None:
    os.remove(images / 'sub/c.JPG')  # the dataset takes one suffix
    out = tmp_path / 'pngs'
    log = export(images, out, 'png')
    assert f'of 2 images are in {out}' in log
    info = json.loads((out / 'info.json').read_text())
    assert (info['num_slots'], info['num_images']) == (NUM_SLOTS, 2)
    masks = [np.unique(np.array(Image.open(path))) for path in out.rglob('*.png')]
    assert info['num_masks'] == sum((ids != UNSEEN).sum() for ids in masks)
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

    def without_masks(self, inputs, data_samples=None, **options):
        samples = predict(self, inputs, data_samples, **options)
        for sample in samples:
            del sample.pred_masks
        return samples

    monkeypatch.setattr(type(network), 'predict', without_masks)
    export(images / 'b.jpg', tmp_path / 'out.json', 'coco')
    assert json.loads((tmp_path / 'out.json').read_text())['info']['masks'] == 'attention'
    message = r"'decoder' needs 'pred_masks'.*'b' lacks; .* those of \['attention'\]"
    with pytest.raises(ValueError, match=message):
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


def test_a_stopped_export_leaves_no_half_file(images, export, tmp_path, monkeypatch) -> None:
    (tmp_path / 'out').mkdir()
    target = tmp_path / 'out/slots.json'
    target.write_text('of another export')
    begun = []

    def stopped(*args) -> np.ndarray:
        begun.append(sorted(path.name for path in target.parent.iterdir()))
        if len(begun) == 2:
            raise KeyboardInterrupt
        return slot_map(*args)

    monkeypatch.setattr(export_masks, 'slot_map', stopped)
    with pytest.raises(KeyboardInterrupt):
        export(images, target, 'coco')
    assert begun == [['slots.json', 'slots.json.part']] * 2
    assert target.read_text() == 'of another export'
    assert list(target.parent.iterdir()) == [target]
    begun.clear()
    with pytest.raises(KeyboardInterrupt):
        export(images, tmp_path / 'pngs', 'png')
    assert [path.name for path in (tmp_path / 'pngs').iterdir()] == ['b.png']  # and no info.json


def test_annotations_are_written_before_the_next_image(tmp_path) -> None:
    path = tmp_path / 'slots.json'
    sizes = []

    def maps():
        for _ in range(3):
            yield np.random.default_rng(0).integers(0, 2, (200, 200), np.uint8)
            sizes.append((tmp_path / 'slots.json.part').stat().st_size)

    assert write_coco(path, ['a.jpg', 'b.jpg', 'c.jpg'], maps(), {'seed': 0}) == 6
    assert 10_000 < sizes[0] < sizes[1] < sizes[2]
    coco = COCO(path)
    assert [len(coco.imgToAnns[i]) for i in (1, 2, 3)] == [2, 2, 2]
    assert coco.dataset['info'] == {'seed': 0, 'num_masks': 6}
    assert write_coco(path, ['a.jpg'], iter([np.full((2, 3), UNSEEN, np.uint8)]), {}) == 0
    assert not COCO(path).anns


def test_targets_are_looked_at_before_the_model_is_built(
    images, export, tmp_path, monkeypatch
) -> None:
    def built(*args, **kwargs):
        raise AssertionError('the model is built')

    monkeypatch.setattr(export_masks, 'SlotInferencer', built)
    (tmp_path / 'folder.json').mkdir()
    with pytest.raises(ValueError, match=r'one \.json file, got the folder .*folder\.json'):
        export(images, tmp_path / 'folder.json', 'coco')
    with pytest.raises(NotADirectoryError, match=r'b\.jpg'):
        export(images, images / 'b.jpg/new/slots.json', 'coco')
    with pytest.raises(AssertionError, match='the model is built'):
        export(images, tmp_path / 'new/folder/slots.json', 'coco')
    assert (tmp_path / 'new/folder').is_dir()


def test_masks_of_two_exports_are_not_mixed(images, export, tmp_path) -> None:
    export(images, tmp_path / 'out', 'png')
    (images / 'b.jpg').unlink()
    with pytest.raises(ValueError, match=r'--out .*/out is not empty: it holds .*; expected a new'):
        export(images, tmp_path / 'out', 'png')
    (tmp_path / 'empty').mkdir()
    export(images, tmp_path / 'empty', 'png')
    assert not (tmp_path / 'empty/b.png').exists()


def test_images_with_other_suffixes_are_counted(images, export, tmp_path) -> None:
    assert 'left out' not in export(images, tmp_path / 'a.json', 'coco')
    for name in ('d.avif', 'sub/e.HEIC', 'f.txt'):
        (images / name).write_bytes(b'')
    log = export(images, tmp_path / 'b.json', 'coco')
    assert log.count('left out') == 1
    assert f'2 images of {images} are left out (.avif, .heic, .jp2): only' in log
    assert 'only those in .bmp, .gif, .jpeg, .jpg, .png, .tif, .tiff, .webp are read' in log
    assert len(COCO(tmp_path / 'b.json').imgs) == 3


def test_slots_that_start_at_random_do_not_depend_on_other_images(images, export, tmp_path) -> None:
    config = tmp_path / 'random.py'
    config.write_text(CONFIG.replace('LearnedSlots', 'GaussianSlots'))
    torch.manual_seed(0)
    network = MODELS.build(Config.fromfile(config).model)
    for parameter in network.decoder.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    torch.save({'state_dict': network.state_dict()}, tmp_path / 'model.pth')
    maps = {}
    for seed, batch_size in ((0, 1), (0, 3), (1, 1)):
        out = tmp_path / f'{seed}_{batch_size}.json'
        flags = ('--seed', str(seed), '--batch-size', str(batch_size))
        export(images, out, 'coco', *flags, config=config, checkpoint=tmp_path / 'model.pth')
        coco = COCO(out)
        maps[seed, batch_size] = {
            image['file_name']: coco_map(coco, i) for i, image in coco.imgs.items()
        }
    alone = tmp_path / 'alone.json'
    single = images / 'sub/a.jpg'
    export(single, alone, 'coco', config=config, checkpoint=tmp_path / 'model.pth')
    for name, ids in maps[0, 1].items():
        np.testing.assert_array_equal(ids, maps[0, 3][name])
    np.testing.assert_array_equal(coco_map(COCO(alone), 1), maps[0, 1]['sub/a.jpg'])
    assert any((ids != maps[1, 1][name]).any() for name, ids in maps[0, 1].items())


def test_the_help_says_what_is_read_and_what_random_slots_depend_on(monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, 'argv', ['tools/export_masks.py', '--help'])
    with pytest.raises(SystemExit):
        export_masks.main()
    text = ' '.join(capsys.readouterr().out.split())
    suffixes = '.bmp, .gif, .jpeg, .jpg, .png, .tif, .tiff, .webp'
    assert f'or a folder: its images ({suffixes}) and those of subfolders' in text
    assert "under the image's relative name with .png, in the folder OUT" in text
    assert 'depend neither on the other images nor on ``--batch-size``' in text


@pytest.mark.parametrize('kind', ['EncoderDecoder', 'mmseg.EncoderDecoder', 'DepthEstimator'])
def test_models_of_mmsegmentation_are_refused(images, export, tmp_path, kind) -> None:
    config = tmp_path / 'segmentor.py'
    config.write_text(f"default_scope = 'mmseg'\nmodel = dict(type='{kind}')\n")
    message = rf"segmentor\.py has model\.type='{kind}', .*MMSegInferencer\(.*writes pred/\*\.png"
    with pytest.raises(ValueError, match=message):
        export(images, tmp_path / 'out', 'png', config=config)
    config.write_text("model = dict(type='EncoderDecoder')\n")
    with pytest.raises(ValueError, match=r"model\.type='EncoderDecoder'"):
        export(images, tmp_path / 'out', 'png', config=config)
    assert not (tmp_path / 'out').exists()


def test_parts_of_mmocl_are_exported_under_the_scope_of_mmsegmentation(
    model, images, export, tmp_path
) -> None:
    config = tmp_path / 'config.py'
    content = Path(model[0]).read_text().replace("'SlotAutoencoder'", "'mmocl.SlotAutoencoder'")
    config.write_text(f"default_scope = 'mmseg'\n{content}")
    export(images, tmp_path / 'out.json', 'coco', config=config)
    assert len(COCO(tmp_path / 'out.json').imgs) == 3


def test_bad_input_is_named(images, export, tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match='IMAGES: neither a file nor a folder at'):
        export(tmp_path / 'absent', tmp_path / 'out', 'png')
    (tmp_path / 'empty').mkdir()
    with pytest.raises(ValueError, match=r'no images in .*empty .*\.jpeg, \.jpg, \.png'):
        export(tmp_path / 'empty', tmp_path / 'out', 'png')
    with pytest.raises(ValueError, match=r'--format coco writes one \.json file, got --out'):
        export(images, tmp_path / 'out', 'coco')
    (tmp_path / 'file').write_text('')
    with pytest.raises(ValueError, match=r'writes a folder, but --out .*file is a file'):
        export(images, tmp_path / 'file', 'png')
    with pytest.raises(ValueError, match='--batch-size must be at least 1, got 0'):
        export(images, tmp_path / 'out', 'png', '--batch-size', '0')
    with pytest.raises(ValueError, match='--min-area must not be negative, got -1'):
        export(images, tmp_path / 'out', 'png', '--min-area', '-1')
    config = tmp_path / 'bare.py'
    config.write_text("model = dict(type='SlotAutoencoder')\n")
    with pytest.raises(ValueError, match=r'bare\.py has no test_dataloader\.dataset; expected one'):
        export(images, tmp_path / 'out', 'png', config=config)
    steps = 'test_dataloader.dataset.pipeline.1.crop=random'
    with pytest.raises(ValueError, match=r"has crop 'random', so masks cannot be put back"):
        export(images, tmp_path / 'out', 'png', '--cfg-options', steps)


def test_a_published_file_alone(model, images, export, tmp_path, monkeypatch) -> None:
    config, checkpoint = model
    file = str(tmp_path / 'ours.safetensors')
    words = ['publish_model.py', checkpoint, '--config', config, '--out', file]
    monkeypatch.setattr(sys, 'argv', words)
    publish_model.main()
    words = ['export_masks.py', str(images), file, '--format', 'png', '--device', 'cpu']
    monkeypatch.setattr(sys, 'argv', [*words, '--out', str(tmp_path / 'alone')])
    export_masks.main()
    export(images, tmp_path / 'both', 'png')
    for path in (tmp_path / 'both').rglob('*.png'):
        other = tmp_path / 'alone' / path.relative_to(tmp_path / 'both')
        assert other.read_bytes() == path.read_bytes()
    words = ['export_masks.py', str(images), config, '--format', 'png']
    monkeypatch.setattr(sys, 'argv', [*words, '--out', str(tmp_path / 'c')])
    with pytest.raises(ValueError, match=r'config\.py brings no weights; give a checkpoint behind'):
        export_masks.main()


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
