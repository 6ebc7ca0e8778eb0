from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
from mmengine.runner import Runner
from torch import nn

from mmocl.engine.hooks import ChannelsLastHook
from mmocl.models.decoders import SpatialBroadcastDecoder


def _is_channels_last(maps: torch.Tensor) -> bool:
    return maps.is_contiguous(memory_format=torch.channels_last) and not maps.is_contiguous()


def test_maps_are_in_channels_last_order() -> None:
    """The canvas is large enough for the short cut of the first layer."""
    decoder = SpatialBroadcastDecoder(8, 3, 16, broadcast_size=(32, 32), strides=(1, 1))
    slots = torch.randn(2, 4, 8)
    maps = []
    decoder.layers[2].register_forward_hook(lambda _, args, out: maps.extend([*args, out]))
    before = decoder(slots).recon
    ChannelsLastHook().before_run(Mock(spec=Runner, model=decoder))
    after = decoder(slots).recon
    assert [_is_channels_last(each) for each in maps] == [False, False, True, True]
    torch.testing.assert_close(after, before, rtol=1e-5, atol=1e-5)


class Model(nn.Module):
    """A convolution that learns to give ones."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 5, 3)

    def train_step(self, data, optim_wrapper) -> dict:
        loss = (self.conv(data) - 1).square().mean()
        optim_wrapper.update_params(loss)
        return {'loss': loss}


def _train(folder: Path, hooked: bool, max_iters: int, resume: bool) -> torch.Tensor:
    rng = torch.Generator().manual_seed(1)
    runner = Runner(
        model=Model(),
        work_dir=str(folder),
        train_dataloader={
            'batch_size': 2,
            'sampler': {'type': 'DefaultSampler', 'shuffle': False},
            'dataset': [torch.randn(3, 8, 8, generator=rng) for _ in range(4)],
            'collate_fn': {'type': 'default_collate'},
        },
        train_cfg={'by_epoch': False, 'max_iters': max_iters},
        optim_wrapper={'optimizer': {'type': 'Adam', 'lr': 0.1, 'fused': True}},
        default_hooks={'checkpoint': {'type': 'CheckpointHook', 'by_epoch': False, 'interval': 3}},
        custom_hooks=[{'type': 'ChannelsLastHook'}] * hooked,
        default_scope='mmocl',
        resume=resume,
        experiment_name=f'{folder.name}-{hooked}-{max_iters}',
    )
    runner.train()
    return runner.model.conv.weight.detach()


@pytest.mark.parametrize('first', [False, True])
@pytest.mark.parametrize('then', [False, True])
def test_a_resumed_training_goes_on_with_and_without_the_hook(tmp_path, first, then) -> None:
    expected = _train(tmp_path / 'whole', False, 6, resume=False)
    _train(tmp_path / 'parts', first, 3, resume=False)
    found = _train(tmp_path / 'parts', then, 6, resume=True)
    assert _is_channels_last(found) == then
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
