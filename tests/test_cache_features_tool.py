"""``tools/cache_features.py`` as a user calls it, also when it is killed."""

import errno
import multiprocessing as mp
import os
import pickle
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import cache_features
import pytest
import shard_processes
import torch
from cache_tool import image_files, run_tool, usual_shard_size
from cached_run import CENTER, NUM_IMAGES, cache, config, content, write_run
from mmengine.config import Config

from mmocl.datasets import FeatureCache, ImageFolder
from mmocl.datasets.shards import ShardPlan, ShardWriter
from mmocl.registry import MODELS


@pytest.fixture(scope='module')
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp('cache'))


@pytest.fixture(scope='module')
def tokens(root: Path) -> Path:
    return cache(root, 'tokens', '--views', 'center', 'flip', '--shard-size', '4')


def test_tokens_are_the_backbones(root: Path, tokens: Path) -> None:
    cfg = config(root)
    backbone, preprocess = MODELS.build(cfg.model.backbone), SlotPreprocess(cfg)
    images = [item['inputs'] for item in ImageFolder(root / 'data', pipeline=CENTER)]
    found = FeatureCache(tokens)
    assert found.names == [f'{i}.jpg' for i in range(NUM_IMAGES)]
    assert (found.grid, found.channels) == ((2, 2), 64)
    for i, image in enumerate(images):
        assert found.file_shape(f'{i}.jpg') == (80, 112)
        for view, shown in enumerate((image, image.flip(2))):
            wanted = backbone(preprocess(shown[None])).tokens[0]
            # bfloat16 has 8 bits, of which rounding loses half of the last.
            torch.testing.assert_close(
                found.tokens(f'{i}.jpg', view).float(), wanted, rtol=2**-8, atol=1e-5
            )


class SlotPreprocess:
    def __init__(self, cfg: Config) -> None:
        self.module = MODELS.build(cfg.model.data_preprocessor)

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        return self.module({'inputs': images})['inputs']


def test_random_views_depend_on_seed_and_image_alone(root: Path) -> None:
    views = ['--views', 'random', 'center', 'random', '--seed', '3']
    first = FeatureCache(cache(root, 'first', *views, '--shard-size', '4', '--batch-size', '1'))
    again = FeatureCache(cache(root, 'again', *views, '--shard-size', '9', '--batch-size', '9'))
    other = FeatureCache(cache(root, 'other', *views[:-1], '4'))
    assert first.views == [0, 1, 2]
    changed = 0
    for name in first.names:
        for view in range(3):
            a, b, c = (x.tokens(name, view).float() for x in (first, again, other))
            # Other batches may change the last bit.
            torch.testing.assert_close(a, b, rtol=2**-7, atol=1e-5)
            changed += view != 1 and not torch.allclose(a, c, rtol=2**-6)
        assert not torch.equal(first.tokens(name, 0), first.tokens(name, 2))
    assert changed > NUM_IMAGES


@pytest.mark.parametrize(
    ('option', 'message'),
    [
        ('model.backbone.frozen=False', 'Only tokens of a frozen TimmBackbone stay valid'),
        ('model.backbone.output=maps', "got frozen=True and output='maps'"),
        ('model.backbone.block=[1,2]', r'block is several: \[1, 2\]'),
        ('train_dataloader.dataset.pipeline=[]', 'needs a random step in the pipeline'),
    ],
)
def test_what_cannot_be_cached_is_refused(option: str, message: str, root: Path) -> None:
    with pytest.raises(ValueError, match=message):
        cache(root, 'refused', '--views', 'random', '--cfg-options', option)
    assert not (root / 'refused').exists()


def test_generated_images_are_refused() -> None:
    message = r'val_dataloader.dataset must be a data set of image files .* got ColoredSprites'
    with pytest.raises(ValueError, match=message):
        image_files({'type': 'ColoredSprites', 'num_images': 2}, 'val_dataloader.dataset')


def test_a_corrupt_image_ends_it_at_once(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shard_processes, 'mp', forked())
    message = r'(?s)3b.jpg.* A cache has no place for a corrupt image: .* a new folder'
    (root / 'data/3b.jpg').write_bytes(b'garbage')
    try:
        for processes in ('1', '2'):
            options = ('--shard-size', '4', '--num-processes', processes)
            with pytest.raises(ValueError, match=message):
                cache(root, f'corrupt{processes}', *options)
        files = {'plan.json', 'shard-00000.json', 'shard-00000.safetensors'}
        assert content(root / 'corrupt1').keys() == files
    finally:
        (root / 'data/3b.jpg').unlink()


def test_an_image_that_was_replaced(root: Path, tmp_path: Path) -> None:
    data, out = tmp_path / 'data', tmp_path / 'tokens'
    shutil.copytree(root / 'data', data)
    for name in ('vit0.pth', 'config.py'):
        shutil.copy(root / name, tmp_path)
    options = ('--cfg-options', f'train_dataloader.dataset.data_root={data}')
    cache(tmp_path, 'tokens', *options)
    size, name = (data / '4.jpg').stat().st_size, '4.jpg'
    with open(data / name, 'ab') as file:
        file.write(b'?')
    with pytest.raises(
        ValueError, match=rf'another cache: sizes.4.jpg is {size} in the cache, but {size + 1} is'
    ):
        cache(tmp_path, 'tokens', *options)
    settings = {'data_root': data, 'pipeline': CENTER, 'token_cache': out}
    with pytest.raises(ValueError, match=rf'image 4.jpg: it had {size} bytes, but has {size + 1}'):
        ImageFolder(**settings)
    ImageFolder(**settings, indices=4)


def test_random_steps_that_no_view_has(root: Path, capsys: pytest.CaptureFixture) -> None:
    cache(root, 'steps')
    wanted = "ResizeCrop(crop='random'), RandomFlip of the pipeline will not run on cached tokens"
    assert wanted in capsys.readouterr().out
    cache(root, 'steps_random', '--views', 'random')
    assert 'will not run' not in capsys.readouterr().out


@pytest.mark.parametrize('option', ['num-processes', 'batch-size', 'shard-size', 'num-workers'])
def test_numbers_are_checked(option: str, root: Path, capsys: pytest.CaptureFixture) -> None:
    minimum = 0 if option == 'num-workers' else 1
    for number in (str(minimum - 1), 'two'):
        with pytest.raises(SystemExit):
            cache(root, 'numbers', f'--{option}', number)
        message = f'argument --{option}: expected a whole number of at least {minimum}, got '
        assert message in capsys.readouterr().err


def test_errors_of_users_take_one_line(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*options: str) -> str:
        with pytest.raises(SystemExit) as caught:
            run_tool(lambda: cache(root, 'line', *options))
        assert isinstance(caught.value.code, str)  # which means an exit code of 1
        assert '\n' not in caught.value.code
        return caught.value.code

    (root / 'line').write_text('a file')
    assert 'line is a file; expected a folder' in refused()
    (root / 'line').unlink()
    assert 'no checkpoint at' in refused('--cfg-options', 'model.backbone.checkpoint=none')
    with monkeypatch.context() as patch:
        patch.setattr(shutil, 'disk_usage', lambda folder: SimpleNamespace(free=10))
        message = refused()
    assert 'about 0.00 MB have to be written, but the disk of' in message
    full = OSError(errno.ENOSPC, 'No space left on device')
    for processes in ('1', '2'):
        with monkeypatch.context() as patch:
            patch.setattr(shard_processes, 'mp', forked())
            patch.setattr(os, 'fsync', Mock(side_effect=[None, None, *[full] * 9]))
            message = refused('--shard-size', '5', '--num-processes', processes)
        assert message.endswith('No space left on device')
        assert {*content(root / 'line')} == {'plan.json'}
        shutil.rmtree(root / 'line')


@pytest.mark.parametrize('position_resize', ['timm', 'plain'])
def test_a_backbone_is_sent_to_a_process(position_resize: str, root: Path) -> None:
    settings = {**config(root).model.backbone, 'position_resize': position_resize}
    backbone = MODELS.build(settings)
    sent = cache_features.SentBackbone(backbone, settings, 'mmocl')
    received = pickle.loads(pickle.dumps(sent)).module
    images = torch.randn(2, 3, 32, 48)
    assert torch.equal(received(images).tokens, backbone(images).tokens)


def test_killing_it_changes_no_byte(root: Path, capsys: pytest.CaptureFixture) -> None:
    options = ('--views', 'center', 'random', '--shard-size', '1', '--batch-size', '2')
    unbroken = content(cache(root, 'unbroken', *options))
    assert len(unbroken) == 2 * NUM_IMAGES + 1
    out = root / 'killed'
    # A clean process that has everything imported, from which others are forked in no time.
    context = mp.get_context('forkserver')
    context.set_forkserver_preload(['timm', 'mmengine.runner', 'mmocl.datasets', 'mmocl.models'])
    moments: list[Callable[[float], bool]] = [
        lambda start: out.exists(),
        lambda start: bool(list(out.glob('*.tmp'))),
        lambda start: len(list(out.glob('shard-*.safetensors'))) >= 2,
        lambda start: bool(list(out.glob('shard-*.tmp'))),
        lambda start: time.time() > start + 0.3,
        lambda start: len(list(out.glob('shard-*.safetensors'))) >= 5,
    ]
    killed = 0
    for moment in moments:
        process = context.Process(target=cache, args=(root, 'killed', *options))
        process.start()
        start = time.time()
        while process.is_alive() and not moment(start):
            time.sleep(0.0005)
        process.kill()
        process.join()
        killed += process.exitcode == -signal.SIGKILL
    assert killed >= 4
    assert not (out / 'manifest.json').exists()
    cache(root, 'killed', *options, '--num-processes', '2')
    assert f'of {NUM_IMAGES} images are in' in capsys.readouterr().out
    assert content(out) == unbroken


def forked() -> SimpleNamespace:
    """In place of multiprocessing: importing everything again would take long."""
    return SimpleNamespace(get_context=lambda kind: mp.get_context('fork'))


def crash(number: int) -> Callable:
    """A process that ends without a word."""

    def make(batches: object) -> dict:
        os._exit(3 if number else 0)

    return make


def fail(number: int) -> Callable:
    raise ValueError('no memory')


@pytest.mark.parametrize(
    ('start', 'message'),
    [(crash, r'process \d ended early, with exit code'), (fail, 'a process failed.*no memory')],
)
def test_a_process_that_ends_early(
    start: Callable, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shard_processes, 'mp', forked())
    writer = ShardWriter(tmp_path, ShardPlan('features', {}, ['a', 'b'], {}, 1, {}, {}))
    with pytest.raises(RuntimeError, match=f'(?s){message}'):
        shard_processes.write_shards(writer, ['a', 'b'], start, (), 1, 2, 0, 1)


def test_small_data_sets_have_some_shards_for_several_processes() -> None:
    assert [usual_shard_size(n) for n in (1, 100, 153, 118287)] == [16, 16, 20, 512]
