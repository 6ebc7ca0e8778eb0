"""``tools/cache_features.py`` as a user calls it, also when it is killed."""

import multiprocessing as mp
import os
import signal
import sys
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import timm
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from PIL import Image

from mmocl.datasets import FeatureCache, ImageFolder
from mmocl.datasets.shards import ShardPlan, ShardWriter
from mmocl.models.model_key import model_key
from mmocl.registry import DATASETS, MODELS
from tools import cache_features, shard_processes
from tools.shard_processes import image_files

ROOT = Path(__file__).resolve().parents[1]
NUM_IMAGES = 9
RUNS = count()
PIPELINE = [
    {'type': 'LoadImage', 'min_side': 32},
    {'type': 'ResizeCrop', 'size': 32, 'crop': 'random'},
    {'type': 'RandomFlip', 'prob': 0.5},
    {'type': 'PackSlotInputs'},
]
CENTER = [PIPELINE[0], {**PIPELINE[1], 'crop': 'center'}, PIPELINE[3]]


@pytest.fixture(scope='module')
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs, weights of two small ViTs, and a config."""
    root = tmp_path_factory.mktemp('cache')
    (root / 'data').mkdir()
    rng = np.random.default_rng(0)
    for i in range(NUM_IMAGES):
        pixels = rng.integers(0, 256, (5, 7, 3), np.uint8).repeat(16, 0).repeat(16, 1)
        Image.fromarray(pixels).save(root / f'data/{i}.jpg')
    for seed in range(2):
        torch.manual_seed(seed)
        vit = timm.create_model('test_vit', num_classes=0)
        torch.save(vit.state_dict(), root / f'vit{seed}.pth')
    config(root).dump(root / 'config.py')
    return root


def config(root: Path, pipeline: list[dict] = PIPELINE, **change: object) -> Config:
    """A run of DINOSAUR's kind on a small ViT."""
    loader = {
        'batch_size': 3,
        'num_workers': 0,
        'sampler': {'type': 'InfiniteSampler', 'shuffle': True},
        'collate_fn': {'type': 'mmocl.stack_inputs'},
        'dataset': {
            **{'type': 'ImageFolder', 'data_root': str(root / 'data')},
            **{'pipeline': pipeline, **change},
        },
    }
    model = {
        'type': 'SlotAutoencoder',
        'data_preprocessor': {
            'type': 'SlotDataPreprocessor',
            'mean': (123.675, 116.28, 103.53),
            'std': (58.395, 57.12, 57.375),
        },
        'backbone': {
            'type': 'TimmBackbone',
            'model_name': 'test_vit',
            'checkpoint': str(root / 'vit0.pth'),
        },
        'slot_head': {
            **{'type': 'SlotAttention', 'slot_dim': 16},
            'initializer': {'type': 'GaussianSlots', 'num_slots': 3},
        },
        'decoder': {'type': 'MLPDecoder', 'grid': (2, 2), 'hidden_channels': 16, 'num_hidden': 2},
        'target': {'type': 'FeatureTarget'},
        'losses': [{'type': 'ReconstructionLoss'}],
    }
    runtime = Config.fromfile(ROOT / 'configs/_base_/default_runtime.py')
    runtime.merge_from_dict(
        {
            'model': model,
            'train_dataloader': loader,
            'train_cfg': {'type': 'IterBasedTrainLoop', 'max_iters': 6},
            'optim_wrapper': {'optimizer': {'type': 'Adam', 'lr': 1e-3}},
            'default_hooks.checkpoint': None,
            'work_dir': str(root / 'work'),
        }
    )
    return runtime


def cache(root: Path, name: str, *options: str) -> Path:
    """Run the tool in this process."""
    threads, command = torch.get_num_threads(), sys.argv
    out = root / name
    try:
        sys.argv = ['cache_features.py', str(root / 'config.py'), '--out', str(out), *options]
        if '--num-processes' not in options:
            sys.argv += ['--num-processes', '1']
        cache_features.main()
    finally:
        sys.argv = command
        torch.set_num_threads(threads)
    return out


@pytest.fixture(scope='module')
def tokens(root: Path) -> Path:
    return cache(root, 'tokens', '--views', 'center', 'flip', '--shard-size', '4')


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


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


def test_a_cached_epoch_has_the_losses_of_the_images(root: Path, tokens: Path) -> None:
    def losses(name: str, dataset: dict | None = None, **change: object) -> list[float]:
        cfg = config(root, CENTER, **change)
        cfg.train_dataloader.dataset = dataset or cfg.train_dataloader.dataset
        cfg.experiment_name = f'epoch-{name}'
        cfg.visualizer.name = name
        runner = Runner.from_cfg(cfg)
        found: list[float] = []
        model = runner.model
        step = model.train_step
        model.train_step = _recording(step, found)
        runner.train()
        return found

    images = losses('images')
    settings = {'folder': str(tokens), 'views': ['center']}
    cached = losses('cached', token_cache=settings)
    assert len(images) == 6  # two epochs
    # Tokens are rounded to bfloat16.
    np.testing.assert_allclose(cached, images, rtol=2e-3)
    folder = losses('folder', {'type': 'CachedFeatures', 'cache': settings})
    assert folder == cached


def _recording(step: Callable, found: list[float]) -> Callable:
    def record(*args: object, **settings: object) -> dict:
        logs = step(*args, **settings)
        found.append(logs['loss'].item())
        return logs

    return record


def test_a_model_that_the_tokens_do_not_fit_is_refused(root: Path, tokens: Path) -> None:
    def train(**changes: object) -> None:
        cfg = config(root, CENTER, token_cache={'folder': str(tokens), 'views': ['center']})
        cfg.merge_from_dict(changes)
        cfg.train_cfg.max_iters = 1
        cfg.experiment_name = f'refused-{next(RUNS)}'
        cfg.visualizer.name = cfg.experiment_name
        Runner.from_cfg(cfg).train()

    other = str(root / 'vit1.pth')
    with pytest.raises(ValueError, match=r"made by another model: weights is '\w+' in the cache"):
        train(**{'model.backbone.checkpoint': other})
    with pytest.raises(ValueError, match=r'backbone.block is 5 in the cache, but 2 is wanted; wei'):
        train(**{'model.backbone.block': 2})
    with pytest.raises(ValueError, match=r'backbone.norm is False in the cache, but True is want'):
        train(**{'model.backbone.norm': True})
    with pytest.raises(ValueError, match=r'std\[0\] is 58.395 in the cache, but 1.0 is wanted'):
        train(**{'model.data_preprocessor.std': (1.0, 1.0, 1.0)})
    train(**{'model.backbone.checkpoint': other, 'default_hooks.feature_cache.strict': False})
    train()


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


def test_corrupt_images_are_named(root: Path, tmp_path: Path) -> None:
    for name in ('3', '7'):
        (root / f'data/{name}b.jpg').write_bytes(b'garbage')
    try:
        with pytest.raises(ValueError, match=r'2 images are corrupt; .*3b.jpg.*7b.jpg'):
            cache(root, 'corrupt', '--shard-size', '4')
    finally:
        for name in ('3', '7'):
            (root / f'data/{name}b.jpg').unlink()
    assert not (root / 'corrupt/manifest.json').exists()


def test_weights_are_compared_whole() -> None:
    first = MODELS.build({'type': 'TimmBackbone', 'model_name': 'test_vit'})
    preprocess = MODELS.build({'type': 'SlotDataPreprocessor'})
    before = model_key(first, preprocess)
    assert model_key(torch.compile(first), preprocess) == before
    with torch.no_grad():
        next(first.model.blocks[5].parameters()).view(-1)[0] += 1e-6
    assert model_key(first, preprocess)['weights'] != before['weights']
    with pytest.raises(ValueError, match=r'model.backbone is a Linear'):
        model_key(torch.nn.Linear(2, 2), preprocess)


def test_killing_it_changes_no_byte(root: Path, capsys: pytest.CaptureFixture) -> None:
    options = ('--views', 'center', 'random', '--shard-size', '1', '--batch-size', '2')
    unbroken = content(cache(root, 'unbroken', *options))
    assert len(unbroken) == NUM_IMAGES + 1
    out = root / 'killed'
    # A clean process that has everything imported, from which others are forked in no time.
    context = mp.get_context('forkserver')
    context.set_forkserver_preload(['tools.cache_features', __name__])
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
    # Importing everything again would take long.
    context = SimpleNamespace(get_context=lambda kind: mp.get_context('fork'))
    monkeypatch.setattr(shard_processes, 'mp', context)
    writer = ShardWriter(tmp_path, ShardPlan('features', {}, ['a', 'b'], 1, {}, {}))
    with pytest.raises(RuntimeError, match=f'(?s){message}'):
        shard_processes.write_shards(writer, ['a', 'b'], start, (), 1, 2, 0)


def test_real_tokens_train_like_real_images(
    data_root: Path, weights_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('MMOCL_DATA', str(data_root))
    monkeypatch.setenv('MMOCL_WEIGHTS', str(weights_root))
    cfg = Config.fromfile(ROOT / 'configs/dinosaur/dinosaur_mlp_small.py')
    cfg.train_dataloader.dataset.indices = 3
    cfg.train_dataloader.dataset.token_cache = None
    cfg.dump(tmp_path / 'config.py')
    folder = cache(tmp_path, 'tokens')
    model = MODELS.build(cfg.model)
    losses = []
    for source in (None, str(folder)):
        dataset = DATASETS.build({**cfg.train_dataloader.dataset, 'token_cache': source})
        inputs = [dataset[i]['inputs'] for i in range(3)]
        data = model.data_preprocessor({'inputs': inputs})
        torch.manual_seed(0)
        with torch.no_grad():
            losses.append(float(model.loss(data['inputs'])['loss_reconstruction']))
    np.testing.assert_allclose(losses[1], losses[0], rtol=2e-3)
