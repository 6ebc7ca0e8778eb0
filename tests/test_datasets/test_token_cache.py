import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from mmocl.datasets import CocoObjects, ImageFolder, TokenCache, VocObjects

PIPELINE = [
    {'type': 'LoadImage'},
    {'type': 'ResizeCrop', 'size': 28, 'crop': 'squash'},
    {'type': 'LoadObjectMasks'},
    {'type': 'PackSlotInputs'},
]
NAMES = [f'val2017/{i}.jpg' for i in (2, 0, 1)]
TOKENS = np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float16)


def _save(path: Path, save: Callable = np.savez, **change: object) -> Path:
    arrays = {'tokens': TOKENS, 'grid': np.array([2, 2]), 'names': np.array(NAMES), **change}
    save(path, **{k: v for k, v in arrays.items() if v is not None})
    return path


@pytest.mark.parametrize('save', [np.savez, np.savez_compressed])
def test_tokens_replace_the_image(coco: Path, tmp_path: Path, save: Callable) -> None:
    cache = _save(tmp_path / 'cache.npz', save)
    # Garbage pixels show that no image is decoded.
    (coco / 'val2017' / '0.jpg').write_bytes(b'garbage')
    dataset = CocoObjects(coco, 'val2017', PIPELINE, test_mode=True, token_cache=cache)
    for i, row in enumerate((1, 2, 0)):
        item = dataset[i]
        assert item['inputs'].dtype == torch.float32
        np.testing.assert_array_equal(item['inputs'], TOKENS[row].astype(np.float32))
    sample = dataset[0]['data_samples']
    assert len(sample.gt_objects) == 3
    assert (sample.ori_shape, sample.img_shape, sample.crop) == ((40, 60), (28, 28), 'squash')


def test_training_without_sizes(voc: Path, tmp_path: Path) -> None:
    names = np.array(['JPEGImages/im0.jpg', 'JPEGImages/im2.jpg', 'JPEGImages/im1.jpg'])
    cache = _save(tmp_path / 'cache.npz', names=names)
    steps = [{**step} for step in PIPELINE if step['type'] != 'LoadObjectMasks']
    dataset = VocObjects(voc, 'trainaug', steps, token_cache=cache)
    item = dataset[1]
    np.testing.assert_array_equal(item['inputs'], TOKENS[1].astype(np.float32))
    assert item['data_samples'].ori_shape == (33, 47)
    assert len(ImageFolder(voc, ['JPEGImages'], steps, token_cache=cache)) == 3


def test_large_caches_stay_on_disk(tmp_path: Path) -> None:
    cache = TokenCache(_save(tmp_path / 'cache.npz'))
    assert isinstance(cache._tokens, np.memmap)
    data = pickle.dumps(cache)
    assert len(data) < 500
    assert torch.equal(pickle.loads(data)[NAMES[2]], cache[NAMES[2]])
    assert cache.grid == (2, 2)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'names': None}, r"expected arrays tokens, grid and names, without \['names'\]"),
        ({'grid': np.array([2, 3])}, r'tokens \(3, 4, 5\) do not fit 3 names and grid \[2, 3\]'),
        ({'names': np.array(NAMES[:2])}, 'do not fit 2 names'),
    ],
)
def test_bad_arrays(tmp_path: Path, change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TokenCache(_save(tmp_path / 'cache.npz', **change))


def test_bad_files(coco: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r'token_cache: no file at .*none.npz'):
        CocoObjects(coco, 'val2017', token_cache=tmp_path / 'none.npz')
    (tmp_path / 'text.npz').write_text('no cache')
    with pytest.raises(ValueError, match=r'text.npz is no token cache'):
        TokenCache(tmp_path / 'text.npz')
    cache = _save(tmp_path / 'c.npz', names=np.array(NAMES[:1]), tokens=TOKENS[:1])
    with pytest.raises(ValueError, match=r'lacks 2 images of the split \(first: val2017/0.jpg\)'):
        CocoObjects(coco, 'val2017', token_cache=cache)
