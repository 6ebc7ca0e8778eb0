import json
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.logging import MessageHub
from mmengine.model import MMDistributedDataParallel
from mmengine.runner import Runner
from torch import nn

from mmocl.engine.hooks import AttributeAnnealingHook
from mmocl.engine.hooks.attribute_annealing_hook import anneal
from mmocl.models.initializers import LearnedSlots

SIGMA = 'slot_head.initializer.sigma'


@pytest.mark.parametrize(
    ('by', 'quarter'), [('cosine', 0.1 + 0.9 * (0.5 + 0.5**1.5)), ('linear', 0.1 + 0.9 * 0.75)]
)
def test_values_of_the_schedule(by, quarter) -> None:
    values = [anneal(step, 1.0, 0.1, 40, by) for step in (0, 10, 20, 40, 41, 10**6)]
    assert values == pytest.approx([1.0, quarter, 0.55, 0.1, 0.1, 0.1])
    assert anneal(39, 1.0, 0.1, 40, by) > 0.1
    assert anneal(0, 1.0, 0.1, 0, by) == 0.1
    assert anneal(10, 0.0, 2.0, 20, by) == pytest.approx(1.0)


def test_other_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="got 'exponential'"):
        AttributeAnnealingHook(SIGMA, 1.0, 0.0, 10, by='exponential')
    with pytest.raises(ValueError, match='negative, got -1'):
        AttributeAnnealingHook(SIGMA, 1.0, 0.0, -1)


class Head(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.initializer = LearnedSlots(num_slots=2, slot_dim=4)


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.slot_head = Head()
        self.losses = nn.ModuleList([nn.Dropout(0.5)])


@pytest.mark.parametrize(
    ('path', 'message'),
    [
        (
            'slot_head.initializer.sigm',
            r"no number 'slot_head.initializer.sigm'. 'slot_head.initializer', a LearnedSlots, has "
            r'the numbers num_slots, sigma, slot_dim and the parts \(none\)',
        ),
        ('slot_head.init.sigma', r"'slot_head', a Head, .* the parts initializer\."),
        ('head.initializer.sigma', r'The Model has the numbers \(none\) .* losses, slot_head\.'),
        ('slot_head.initializer.noise_mode', "no number 'slot_head.initializer.noise_mode'"),
        ('slot_head.initializer.training', "no number 'slot_head.initializer.training'"),
        ('slot_head.initializer.queries', "no number 'slot_head.initializer.queries'"),
        ('slot_head.initializer', "no number 'slot_head.initializer'"),
        ('slot_head.initializer.sigma.value', r"'slot_head.initializer.sigma', a float, has"),
    ],
)
def test_a_path_to_no_number_is_refused_before_training(path, message) -> None:
    runner = Mock(spec=Runner, model=Model())
    with pytest.raises(ValueError, match=message):
        AttributeAnnealingHook(path, 1.0, 0.0, 10).before_train(runner)


@pytest.mark.parametrize('wrapped', [True, False])
def test_it_sets_the_number_of_the_model_and_logs_it(wrapped) -> None:
    model = Model()
    outer = model
    if wrapped:
        outer = Mock(spec=MMDistributedDataParallel, module=model)
    hub = MessageHub.get_instance(f'annealing-{wrapped}')
    runner = Mock(spec=Runner, model=outer, iter=5, message_hub=hub)
    hooks = [
        AttributeAnnealingHook(SIGMA, 1.0, 0.0, 10, by='linear'),
        AttributeAnnealingHook('losses.0.p', 0.0, 0.5, 5, name='dropout'),
    ]
    for hook in hooks:
        hook.before_train(runner)
        hook.before_train_iter(runner, 0)
    assert model.slot_head.initializer.sigma == 0.5
    assert model.losses[0].p == 0.5
    assert hub.get_scalar('train/sigma').current() == 0.5
    assert hub.get_scalar('train/dropout').current() == 0.5


class SeenSigma(Hook):
    """Takes down the value that an iteration ran with."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        self.values.append(runner.model.slot_head.initializer.sigma)


def _train(work_dir: Path, max_iters: int, name: str, resume: bool = False) -> list[float]:
    seen = SeenSigma()
    images = [{'inputs': torch.randint(256, (3, 16, 16), dtype=torch.uint8)} for _ in range(8)]
    Runner(
        model={
            'type': 'SlotAutoencoder',
            'backbone': {'type': 'ConvEncoder', 'channels': 8, 'strides': (2,)},
            'slot_head': {
                'type': 'SlotAttention',
                'slot_dim': 8,
                'gradient': 'bilevel',
                'initializer': {'type': 'LearnedSlots', 'num_slots': 3},
            },
            'decoder': {'type': 'MLPDecoder', 'grid': (8, 8), 'hidden_channels': 8},
            'target': {'type': 'PixelTarget', 'patch_size': 2},
            'losses': [{'type': 'ReconstructionLoss'}],
        },
        work_dir=str(work_dir),
        train_dataloader={
            'batch_size': 2,
            'sampler': {'type': 'InfiniteSampler'},
            'dataset': images,
            'collate_fn': {'type': 'pseudo_collate'},
        },
        train_cfg={'by_epoch': False, 'max_iters': max_iters},
        optim_wrapper={'optimizer': {'type': 'SGD', 'lr': 0.01}},
        default_hooks={
            'logger': {'type': 'LoggerHook', 'interval': 1},
            'checkpoint': {'type': 'CheckpointHook', 'by_epoch': False, 'interval': 3},
        },
        custom_hooks=[
            {
                'type': 'AttributeAnnealingHook',
                'attribute': SIGMA,
                'start': 1.0,
                'end': 0.0,
                'num_steps': 4,
            },
            seen,
        ],
        log_processor={'by_epoch': False},
        default_scope='mmocl',
        experiment_name=f'annealing-{name}',
        resume=resume,
    ).train()
    return seen.values


def test_a_run_is_annealed_and_goes_on_after_a_resume(tmp_path) -> None:
    cosine = [1.0, 0.5 + 0.5**1.5, 0.5, 0.5 - 0.5**1.5, 0.0, 0.0]
    assert _train(tmp_path, 3, 'first') == pytest.approx(cosine[:3])
    assert _train(tmp_path, 6, 'second', resume=True) == pytest.approx(cosine[3:])
    logged = []
    for file in sorted(tmp_path.glob('*/vis_data/scalars.json')):
        logged += [json.loads(line) for line in file.read_text().splitlines()]
    sigmas = {line['step']: line['sigma'] for line in logged}
    # A log line has the number of iterations done, one more than the step they were run with.
    assert sigmas == pytest.approx({i + 1: value for i, value in enumerate(cosine)})
