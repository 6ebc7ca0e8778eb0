import json
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.logging import MessageHub
from mmengine.runner import Runner
from torch.utils._python_dispatch import TorchDispatchMode

from mmocl.engine.hooks import DeferredInfoHook
from mmocl.models.slot_heads import base


def _runner(work_dir: Path, hook: str, checkpoint: int = 5, max_iters: int = 7) -> Runner:
    images = [torch.full((3, 16, 16), 5 * i, dtype=torch.uint8) for i in range(40)]
    return Runner(
        model={
            'type': 'SlotAutoencoder',
            'backbone': {'type': 'ConvEncoder', 'channels': 8, 'strides': (2,)},
            'slot_head': {
                'type': 'SlotAttention',
                'slot_dim': 8,
                'initializer': {'type': 'LearnedSlots', 'num_slots': 3},
            },
            'decoder': {'type': 'MLPDecoder', 'grid': (8, 8), 'hidden_channels': 8},
            'target': {'type': 'PixelTarget', 'patch_size': 2},
            'losses': [{'type': 'ReconstructionLoss'}],
        },
        work_dir=str(work_dir / hook),
        train_dataloader={
            'batch_size': 4,
            'sampler': {'type': 'InfiniteSampler'},
            'dataset': [{'inputs': image} for image in images],
            'collate_fn': {'type': 'pseudo_collate'},
        },
        train_cfg={'by_epoch': False, 'max_iters': max_iters},
        optim_wrapper={
            'optimizer': {'type': 'Adam', 'lr': 0.01, 'fused': True},
            'clip_grad': {'max_norm': 0.1},
        },
        default_hooks={
            'runtime_info': {'type': hook},
            'logger': {'type': 'LoggerHook', 'interval': 3},
            'checkpoint': {'type': 'CheckpointHook', 'by_epoch': False, 'interval': checkpoint},
        },
        log_processor={'by_epoch': False, 'window_size': 3},
        default_scope='mmocl',
        randomness={'seed': 0},
        experiment_name=f'{hook}-{work_dir.name}-{max_iters}',
    )


def test_histories_lines_and_checkpoints_are_those_of_mmengines_hook(tmp_path) -> None:
    histories, saved, lines = [], [], []
    for hook in ('RuntimeInfoHook', 'DeferredInfoHook'):
        runner = _runner(tmp_path, hook)
        runner.train()
        histories.append(runner.message_hub.log_scalars)
        checkpoint = torch.load(tmp_path / hook / 'iter_5.pth', weights_only=False)
        saved.append(checkpoint['message_hub']['log_scalars'])
        (file,) = (tmp_path / hook).glob('*/vis_data/scalars.json')
        shown = [json.loads(line) for line in file.read_text().splitlines()]
        lines.append([[line[key] for key in ('step', 'loss', 'grad_norm')] for line in shown])
    for plain, deferred, length in ((*histories, 7), (*saved, 5)):
        assert plain.keys() == deferred.keys()
        for name in ('train/loss', 'train/grad_norm', 'train/lr'):
            assert len(deferred[name].data[0]) == length
            assert list(plain[name].data[0]) == list(deferred[name].data[0])
    assert lines[0] == lines[1]
    assert [line[0] for line in lines[0]] == [3, 6]


class ReadBacks(TorchDispatchMode):
    """Counts values that are read back from the device, by the iteration."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(('hook', 'expected'), [('DeferredInfoHook', 0), ('RuntimeInfoHook', 3)])
def test_no_value_is_read_back_between_two_lines_of_the_log(
    tmp_path, monkeypatch, hook, expected
) -> None:
    # On a GPU these checks are assertions of the device.
    monkeypatch.setattr(base, 'require', lambda condition, message, detail=None: None)
    runner = _runner(tmp_path, hook, checkpoint=100, max_iters=5)
    counts = []
    with ReadBacks() as reads:
        run_iter = type(runner.train_loop).run_iter

        def counted(loop, batch) -> None:
            before = reads.count
            run_iter(loop, batch)
            counts.append(reads.count - before)

        monkeypatch.setattr(type(runner.train_loop), 'run_iter', counted)
        runner.train()
    # Iteration 3 shows a line: all values that were kept come in one transfer.
    assert [counts[i] for i in (0, 1, 3, 4)] == [expected] * 4


def test_clipping_is_given_back_to_the_wrapper(tmp_path) -> None:
    runner = _runner(tmp_path, 'DeferredInfoHook')
    runner.train()
    assert runner.optim_wrapper.clip_func is torch.nn.utils.clip_grad_norm_


def test_numbers_of_other_types_stay_what_they_are() -> None:
    hub = MessageHub.get_instance('types')
    hook = DeferredInfoHook()
    whole = 123456789  # more than float32 holds
    for value in (
        torch.tensor(whole),
        torch.tensor(0.1),
        2.5,
        torch.tensor([0.5]),
        torch.tensor(7),
    ):
        hook._keep('train/value', value)
    hook._hand_over(Mock(spec=Runner, message_hub=hub))
    history = hub.get_scalar('train/value').data[0]
    assert list(history) == pytest.approx([whole, 0.1, 2.5, 0.5, 7], rel=1e-7)
    assert history[0] == whole
    assert not hook._pending


def test_a_training_that_broke_off_leaves_nothing(tmp_path) -> None:
    class Breaks(Hook):
        def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
            if batch_idx == 1:
                raise RuntimeError('broken')

    runner = _runner(tmp_path, 'DeferredInfoHook', max_iters=2)
    breaks = Breaks()
    runner.register_hook(breaks)
    with pytest.raises(RuntimeError, match='broken'):
        runner.train()
    hook = next(h for h in runner.hooks if isinstance(h, DeferredInfoHook))
    assert hook._pending
    hook.before_train(runner)
    assert not hook._pending
    assert len(hook._undo) == 1
    hook._restore()
    assert runner.optim_wrapper.clip_func is torch.nn.utils.clip_grad_norm_
