import pickle
import sys
from pathlib import Path

import cache_images
import numpy as np
import pytest
import torch
from mmengine.config import Config

from mmocl.datasets import CocoObjects, ImageCache

LOAD = {'type': 'LoadImage'}
FLIP = {'type': 'RandomFlip', 'prob': 0.5}
PACK = {'type': 'PackSlotInputs'}


def crop(kind: str, size: int = 24) -> dict:
    return {'type': 'ResizeCrop', 'size': size, 'crop': kind}


@pytest.fixture
def cached(coco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Make an image cache with the tool."""

    def make(pipeline: list[dict], name: str = 'cache', *options: str) -> Path:
        dataset = {
            **{'type': 'CocoObjects', 'data_root': str(coco), 'split': 'val2017'},
            'pipeline': pipeline,
        }
        config = {'default_scope': 'mmocl', 'train_dataloader': {'dataset': dataset}}
        Config(config).dump(tmp_path / 'config.py')
        command = ['cache_images.py', str(tmp_path / 'config.py'), '--out', str(tmp_path / name)]
        processes = ['--num-processes', '1', '--shard-size', '2']
        monkeypatch.setattr(sys, 'argv', [*command, *processes, *options])
        cache_images.main()
        return tmp_path / name

    return make


def drawn(dataset: CocoObjects, seed: int, index: int) -> dict:
    np.random.seed(seed)
    return dataset[index]


@pytest.mark.parametrize('kind', ['center', 'random', 'squash'])
@pytest.mark.parametrize(
    'load', [LOAD, {**LOAD, 'frame': (2, 3, 30, 29)}, {'type': 'LoadPhoto'}], ids=str
)
def test_pixels_are_those_of_the_files(kind: str, load: dict, coco: Path, cached) -> None:
    steps = [load, crop(kind), FLIP, PACK]
    cache = cached(steps)
    plain = CocoObjects(coco, 'val2017', steps)
    wanted = {(seed, i): drawn(plain, seed, i) for seed in range(6) for i in range(3)}
    fast = CocoObjects(coco, 'val2017', steps, image_cache=cache)
    for path in (coco / 'val2017').iterdir():
        path.write_bytes(b'garbage')
    for dataset in (fast, pickle.loads(pickle.dumps(fast))):
        for (seed, i), item in wanted.items():
            found = drawn(dataset, seed, i)
            assert torch.equal(found['inputs'], item['inputs'])
            for key in ('ori_shape', 'img_shape', 'crop', 'flip', 'img_id', 'frame', 'file_shape'):
                assert found['data_samples'].get(key) == item['data_samples'].get(key), key
    different = {item['inputs'].numpy().tobytes() for item in wanted.values()}
    assert len(different) > 6 if kind == 'random' else len(different) == 6  # and their mirrors


def test_the_whole_image_is_decoded(coco: Path, cached) -> None:
    # JPEGs for training at a reduced scale, which the cache never has.
    cut = {**crop('random', 12), 'backend': 'torch'}
    training = [{**LOAD, 'min_side': 12}, cut, FLIP, PACK]
    settings = {'folder': cached(training), 'verify': False}
    fast = CocoObjects(coco, 'val2017', training, image_cache=settings)
    plain = CocoObjects(coco, 'val2017', [LOAD, *training[1:]])
    reduced = CocoObjects(coco, 'val2017', training)
    assert torch.equal(drawn(fast, 0, 0)['inputs'], drawn(plain, 0, 0)['inputs'])
    assert not torch.equal(drawn(fast, 0, 0)['inputs'], drawn(reduced, 0, 0)['inputs'])


def test_ground_truth_keeps_its_frame(coco: Path, cached) -> None:
    steps = [LOAD, crop('center'), {'type': 'LoadObjectMasks'}, PACK]
    cache = cached(steps)
    plain = CocoObjects(coco, 'val2017', steps, test_mode=True)
    fast = CocoObjects(coco, 'val2017', steps, test_mode=True, image_cache=cache)
    for i in range(3):
        wanted, found = plain[i], fast[i]
        assert torch.equal(found['inputs'], wanted['inputs'])
        masks = [item['data_samples'].gt_objects.masks for item in (found, wanted)]
        assert torch.equal(*masks)


def test_stale_and_unfit_caches_are_refused(coco: Path, cached) -> None:
    steps = [LOAD, crop('random'), FLIP, PACK]
    cache = cached(steps)
    # Other crops of the same resized image.
    CocoObjects(coco, 'val2017', [LOAD, crop('center'), PACK], image_cache=cache)

    def refused(message: str, *pipeline: dict) -> None:
        with pytest.raises(ValueError, match=message):
            CocoObjects(coco, 'val2017', pipeline, image_cache=cache)

    refused(
        r'other transforms: pipeline\[1\].size is 24 in the cache, but 32', LOAD, crop('random', 32)
    )
    refused(r"pipeline\[1\].crop is 'center' in the cache, but 'squash'", LOAD, crop('squash'))
    refused(
        r"pipeline\[1\].interpolation is 'bicubic' .* 'nearest' is wanted",
        *(LOAD, {**crop('center'), 'interpolation': 'nearest'}),
    )
    refused(r'frame is None in the cache', {**LOAD, 'frame': (0, 0, 9, 9)}, crop('center'))
    refused(
        "begins with LoadImage .or LoadPhoto. and ResizeCrop, got .'LoadImage', 'RandomFlip'",
        LOAD,
        FLIP,
    )
    path = cache / 'shard-00000.safetensors'
    path.write_bytes(path.read_bytes()[:-1] + b'?')
    refused('shard-00000.safetensors is damaged.* run tools/cache_images.py again', *steps)
    with pytest.raises(ValueError, match='holds images in format 1; expected features'):
        CocoObjects(coco, 'val2017', steps, token_cache=cache)
    assert len(ImageCache(cache, verify=False).image('val2017/0.jpg')) == 24


def test_a_corrupt_image_is_named(coco: Path, cached, tmp_path: Path) -> None:
    (coco / 'val2017/1.jpg').write_bytes(b'garbage')
    with pytest.raises(ValueError, match=r'val2017/1.jpg.* no place for a corrupt image'):
        cached([LOAD, crop('center'), PACK])
    assert [path.name for path in (tmp_path / 'cache').iterdir()] == ['plan.json']


def test_expected_bytes_and_other_images(coco: Path, cached, capsys: pytest.CaptureFixture) -> None:
    steps = [LOAD, crop('squash'), PACK]
    cache = cached(steps)
    assert 'About 0.01 MB to write' in capsys.readouterr().out
    path = coco / 'val2017/1.jpg'
    size = path.stat().st_size
    path.write_bytes(b'other')
    with pytest.raises(
        ValueError, match=rf'another image val2017/1.jpg: it had {size} bytes, but has 5 now'
    ):
        CocoObjects(coco, 'val2017', steps, image_cache=cache)


def test_images_cannot_be_written_to(coco: Path, cached) -> None:
    cache = ImageCache(cached([LOAD, crop('center'), PACK]))
    image = cache.image('val2017/0.jpg')
    with pytest.raises(ValueError, match='read-only'):
        image[:] = 0


def test_another_version_is_refused(coco: Path, cached, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = cached([LOAD, crop('center'), PACK])
    monkeypatch.setattr('mmocl.datasets.image_cache.PIXELS_VERSION', 2)
    with pytest.raises(ValueError, match='content of version 1, but this mmocl reads version 2'):
        ImageCache(cache)
