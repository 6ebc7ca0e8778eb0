import logging
import pickle
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch
from cache_folders import write_features

from mmocl.datasets import (
    CachedFeatures,
    ClevrMasks,
    CocoObjects,
    FeatureCache,
    VocObjects,
    cached_tokens,
    feature_cache,
)
from mmocl.datasets.cache_views import view_steps
from mmocl.datasets.transforms import LoadImage

PIPELINE = [
    {'type': 'LoadImage'},
    {'type': 'ResizeCrop', 'size': 28, 'crop': 'squash'},
    {'type': 'LoadObjectMasks'},
    {'type': 'PackSlotInputs'},
]
RANDOM = [
    {'type': 'mmocl.LoadImage', 'min_side': 28},
    {'type': 'ResizeCrop', 'size': 28, 'crop': 'random'},
    {'type': 'RandomFlip', 'prob': 0.5},
    {'type': 'PackSlotInputs'},
]
NAMES = [f'val2017/{i}.jpg' for i in (2, 0, 1)]
SHAPES = [(33, 47), (40, 60), (50, 30)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / 'cache'


def test_tokens_replace_the_image(coco: Path, folder: Path) -> None:
    tokens = write_features(folder, NAMES, PIPELINE, SHAPES)
    # Garbage pixels show that no image is decoded.
    (coco / 'val2017' / '0.jpg').write_bytes(b'garbage')
    dataset = CocoObjects(coco, 'val2017', PIPELINE, test_mode=True, token_cache=folder)
    for data in (dataset, pickle.loads(pickle.dumps(dataset))):
        for i, row in enumerate((1, 2, 0)):
            item = data[i]
            assert item['inputs'].dtype == torch.bfloat16
            assert torch.equal(item['inputs'], tokens[row, 0])
    sample = dataset[0]['data_samples']
    assert len(sample.gt_objects) == 3
    assert (sample.ori_shape, sample.img_shape, sample.crop) == ((40, 60), (28, 28), 'squash')
    assert dataset.feature_cache.grid == (2, 2)
    assert CocoObjects(coco, 'val2017').feature_cache is None


def test_training_draws_a_view(coco: Path, folder: Path) -> None:
    views = ['center', 'flip', 'random', 'random']
    tokens = write_features(folder, NAMES, RANDOM, SHAPES, views)

    def seen(settings: object, **change: bool) -> tuple[set[int], set[tuple]]:
        data = CocoObjects(coco, 'val2017', RANDOM, token_cache=settings, **change)
        items = [data[0] for _ in range(40)]
        found = {
            view for view in range(4) for i in items if torch.equal(i['inputs'], tokens[1, view])
        }
        samples = [item['data_samples'] for item in items]
        return found, {(s.crop, s.img_shape, s.get('flip', False)) for s in samples}

    random, center = ('random', (28, 28), False), ('center', (28, 28), False)
    flip = ('center', (28, 28), True)
    assert seen(folder) == ({0, 1, 2, 3}, {random, center, flip})
    assert seen({'folder': folder, 'views': ['random']}) == ({2, 3}, {random})
    assert seen(folder, test_mode=True) == ({0}, {center})
    dataset = CocoObjects(coco, 'val2017', RANDOM, token_cache=folder)
    for _ in range(2):
        np.random.seed(1)
        items = [dataset[0]['inputs'] for _ in range(6)]
    np.random.seed(1)
    assert all(torch.equal(dataset[0]['inputs'], item) for item in items)


def test_a_folder_trains_without_the_images(folder: Path) -> None:
    tokens = write_features(folder, NAMES, RANDOM, SHAPES, ['flip', 'center'])
    dataset = CachedFeatures(folder, test_mode=True)
    assert len(dataset) == 3
    assert torch.equal(dataset[2]['inputs'], tokens[2, 1])
    sample = dataset[2]['data_samples']
    assert (sample.img_id, sample.ori_shape) == (NAMES[2], (50, 30))
    training = CachedFeatures({'folder': folder}, indices=1)
    assert len(training) == 1
    found = [training[0]['inputs'] for _ in range(20)]
    assert {i for i in range(2) for x in found if torch.equal(x, tokens[0, i])} == {0, 1}


def test_the_frame_of_a_cached_image(tiny_data: Path, folder: Path) -> None:
    pipeline = [{'type': 'LoadImage', 'frame': (29, 64, 221, 256)}, *PIPELINE[1:]]
    root = tiny_data / 'clevr_with_masks'
    names = [f'test/images/img_{i:06d}.png' for i in range(5)]
    write_features(folder, names, pipeline, [(240, 320)] * 5)
    dataset = ClevrMasks(root, 'test', pipeline=pipeline, test_mode=True, token_cache=folder)
    sample = dataset[0]['data_samples']
    assert (sample.ori_shape, sample.file_shape) == ((192, 192), (240, 320))
    assert sample.gt_objects.masks.shape == (2, 192, 192)


def test_another_pipeline_is_refused(coco: Path, folder: Path) -> None:
    write_features(folder, NAMES, RANDOM, SHAPES, ['center', 'random'])
    load, crop, flip, pack = RANDOM

    def refused(message: str, *pipeline: object, **change: object) -> None:
        settings = {'split': 'val2017', 'pipeline': pipeline, 'token_cache': folder, **change}
        with pytest.raises(ValueError, match=message):
            CocoObjects(coco, **settings)

    refused(
        r"made of other images: pipeline of view 'center'\[0\].min_side is 28 in the cache, but 32 "
        r'is wanted. Change the pipeline back, or run tools/cache_features.py',
        *({**load, 'min_side': 32}, crop, flip, pack),
    )
    refused(r'\[1\].size is 28 in the cache, but 56', load, {**crop, 'size': 56}, flip, pack)
    refused(
        r"view 'random'\[2\].prob is 0.5 in the cache, but 0.1",
        *(load, crop, {**flip, 'prob': 0.1}, pack),
    )
    # A test does not see the random view.
    steps = [load, {**crop, 'crop': 'center'}, pack]
    CocoObjects(coco, 'val2017', steps, test_mode=True, token_cache=folder)
    refused("the view 'random' needs a random step in the pipeline", *steps)
    refused('needs a pipeline of configs, which can be compared, got LoadImage', LoadImage(), pack)
    refused(
        r"has the views \['center', 'random'\], but \['flip'\] are wanted; run tools/cache_f",
        *RANDOM,
        token_cache={'folder': folder, 'views': ['flip']},
    )
    message = (
        r"token_cache must be a folder, or a dict of \('folder', 'verify', 'views'\), got \{'f"
    )
    refused(message, *RANDOM, token_cache={'file': folder})
    refused('expected token_cache or image_cache, got both', *RANDOM, image_cache=folder)


def test_other_images_and_versions_are_refused(coco: Path, voc: Path, tmp_path: Path) -> None:
    write_features(tmp_path / 'a', NAMES[:1], PIPELINE, SHAPES)
    with pytest.raises(ValueError, match=r'lacks 2 images of the split \(first: val2017/0.jpg\)'):
        CocoObjects(coco, 'val2017', PIPELINE, test_mode=True, token_cache=tmp_path / 'a')
    write_features(tmp_path / 'b', NAMES, PIPELINE, SHAPES, version=0)
    with pytest.raises(ValueError, match=r'of version 0, but this mmocl reads version 1; make it'):
        FeatureCache(tmp_path / 'b')
    write_features(tmp_path / 'c', NAMES, RANDOM, SHAPES, ['flip'])
    with pytest.raises(ValueError, match=r"has the views \['flip'\], but \['center'\] are wanted"):
        CocoObjects(coco, 'val2017', RANDOM, test_mode=True, token_cache=tmp_path / 'c')
    with pytest.raises(FileNotFoundError, match=r'no folder with cached features at .*none'):
        VocObjects(voc, 'val', token_cache=tmp_path / 'none')


def test_files_of_another_size_are_refused(coco: Path, folder: Path) -> None:
    size = (coco / NAMES[1]).stat().st_size
    write_features(folder, NAMES, PIPELINE, SHAPES, sizes=dict.fromkeys(NAMES, size))
    settings = {'pipeline': PIPELINE, 'test_mode': True, 'token_cache': folder}
    with pytest.raises(ValueError, match=rf'was made of another image val.* had {size} bytes, but'):
        CocoObjects(coco, 'val2017', **settings)
    CocoObjects(coco, 'val2017', **settings, indices=1)
    CachedFeatures(folder)
    # Images need not be there.
    dataset = CocoObjects(coco, 'val2017', **settings, indices=1)
    (coco / NAMES[1]).unlink()
    dataset.feature_cache.require({NAMES[1]: str(coco / NAMES[1])}, PIPELINE)


def test_tokens_are_copies(folder: Path) -> None:
    tokens = write_features(folder, NAMES, PIPELINE, SHAPES)
    cache = FeatureCache(folder)
    cache.tokens(NAMES[0], 0).zero_()
    assert torch.equal(cache.tokens(NAMES[0], 0), tokens[0, 0])


@pytest.mark.parametrize(
    ('views', 'steps', 'message'),
    [
        (
            ['center'],
            RANDOM,
            "ResizeCrop(crop='random'), RandomFlip of the pipeline will not run on cached tokens, "
            "whose views are ['center']; tools/cache_features.py --views center random random m",
        ),
        (['center'], [*PIPELINE[:2], RANDOM[2]], '--views center flip makes more'),
        (['flip', 'center'], RANDOM, ": ResizeCrop(crop='random') of the pipeline will"),
        (['center', 'flip'], [*PIPELINE[:2], RANDOM[2]], None),
        (['center', 'random'], RANDOM, None),
        (['center'], [*PIPELINE[:2], PIPELINE[3]], None),
    ],
)
def test_augmentation_that_no_view_has(
    views: list[str],
    steps: list[dict],
    message: str | None,
    coco: Path,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    warnings: list[str] = []
    monkeypatch.setattr(cached_tokens, 'print_log', lambda text, **_: warnings.append(text))
    write_features(folder, NAMES, steps, SHAPES, views)
    CocoObjects(coco, 'val2017', steps, token_cache=folder)
    assert len(warnings) == (message is not None)
    assert message is None or message in warnings[0]
    CocoObjects(coco, 'val2017', steps, test_mode=True, token_cache={'folder': folder})
    assert len(warnings) == (message is not None)


def test_what_tokens_are_is_logged(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logged: list[tuple] = []
    record = lambda text, logger, level: logged.append((text, level))  # noqa: E731
    monkeypatch.setattr(feature_cache, 'print_log', record)
    for timm in (version('timm'), '0.0.1'):
        about = {'made_with': {'timm': timm}, 'precision': 'bf16'}
        write_features(folder / timm, NAMES, PIPELINE, SHAPES, **about)
        FeatureCache(folder / timm)
    (text, level), (warning, other) = logged
    assert "tokens of 3 images, views ['center'], bf16, made with {'timm': " in text
    assert (level, other) == (logging.INFO, logging.WARNING)
    assert f'this is timm {version("timm")}' in warning


def test_views_are_a_list(folder: Path) -> None:
    write_features(folder, NAMES, PIPELINE, SHAPES)
    with pytest.raises(ValueError, match=r"views must be a list of names, .* got 'center'"):
        CachedFeatures({'folder': folder, 'views': 'center'})


def test_views_of_a_pipeline() -> None:
    load, crop, flip = view_steps(RANDOM, 'random')
    assert load == {'type': 'LoadImage', 'min_side': 28, 'frame': None}
    assert crop['interpolation'] == 'bicubic'
    center = {**crop, 'crop': 'center'}
    assert view_steps(RANDOM, 'center') == [load, center]
    assert view_steps(RANDOM, 'flip') == [load, center, {**flip, 'prob': 1.0}]
    with pytest.raises(ValueError, match=r"views must be of .*, got 'left'"):
        view_steps(RANDOM, 'left')
    with pytest.raises(ValueError, match="there is no transform 'Blur'"):
        view_steps([{'type': 'Blur'}], 'center')
    with pytest.raises(ValueError, match=r'LoadImage has an argument that a cache cannot compare'):
        view_steps([{'type': 'LoadImage', 'min_side': np.int64(3)}], 'center')
