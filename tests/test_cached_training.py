"""Training on cached tokens."""

from collections.abc import Callable
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch
from cached_run import CENTER, ROOT, cache, config, write_run
from mmengine.config import Config
from mmengine.runner import Runner

from mmocl.models.model_key import model_key, weights_digest
from mmocl.registry import DATASETS, MODELS

RUNS = count()


@pytest.fixture(scope='module')
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp('cache'))


@pytest.fixture(scope='module')
def tokens(root: Path) -> Path:
    return cache(root, 'tokens', '--views', 'center', 'flip', '--shard-size', '4')


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


def test_weights_of_other_names_types_or_shapes_differ() -> None:
    def digest(name: str, value: torch.Tensor) -> str:
        module = torch.nn.Module()
        module.register_buffer(name, value)
        return weights_digest(module)

    zeros = torch.zeros(2, 3)
    others = [('b', zeros), ('a', zeros.int()), ('a', zeros.view(3, 2)), ('a', zeros + 1)]
    digests = [digest(*values) for values in [('a', zeros), *others]]
    assert len(set(digests)) == 5
    assert digest('a', zeros.clone()) == digests[0]


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
