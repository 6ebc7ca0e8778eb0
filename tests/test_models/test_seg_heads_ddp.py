"""Heads, neck and backbones train in two gloo processes without find_unused_parameters."""

import os
import socket

import torch
from mmengine.registry import DefaultScope
from test_seg_heads import CHANNELS, HEADS, SLOT_HEAD, _batch, _config, _segmentor
from torch import distributed, multiprocessing, nn
from torch.nn.parallel import DistributedDataParallel

from mmocl.registry import MODELS


def _models() -> dict[str, nn.Module]:
    models = {name: _segmentor(name) for name in HEADS}
    models['trained backbone'] = _segmentor('semantic', frozen=False)
    neck = _segmentor('semantic')
    neck.neck = MODELS.build(dict(type='SlotNeck', slot_head=SLOT_HEAD, in_channels=CHANNELS))
    neck.decode_head = MODELS.build(_config('semantic', in_channels=8))
    models['neck'] = neck
    models['auxiliary head'] = _segmentor('semantic')
    models['auxiliary head'].auxiliary_head = MODELS.build(_config('seg'))
    mmseg = dict(
        type='ResNetV1c', depth=18, stem_channels=4, base_channels=4, strides=(1, 2, 1, 1),
        out_indices=(3,),
    )  # fmt: skip
    models['backbone of mmsegmentation'] = _segmentor('semantic', in_channels=32)
    models['backbone of mmsegmentation'].backbone = MODELS.build(
        dict(type='mmocl.MapBackbone', backbone=mmseg, output='maps')
    )
    slots = dict(
        type='mmocl.SlotAutoencoder',
        backbone=dict(type='ConvEncoder', channels=8, strides=(2, 2)),
        slot_head=SLOT_HEAD,
        decoder=dict(type='SpatialBroadcastDecoder'),
        target=dict(type='PixelTarget'),
        losses=[dict(type='ReconstructionLoss')],
    )
    models['backbone of slots'] = _segmentor('semantic', in_channels=8)
    models['backbone of slots'].backbone = MODELS.build(
        dict(type='mmocl.SlotBackbone', model=slots, frozen=False)
    )
    return models


def _train(rank: int, port: int) -> None:
    torch.set_num_threads(1)
    os.environ.update(MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port))
    distributed.init_process_group('gloo', rank=rank, world_size=2)
    DefaultScope.get_instance('ddp', scope_name='mmseg')
    for name, model in _models().items():
        wrapped = DistributedDataParallel(model)
        optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
        for step in range(3):
            torch.manual_seed(10 * step + rank)
            data = model.data_preprocessor(_batch(), training=True)
            loss, _ = model.parse_losses(wrapped(**data, mode='loss'))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        sums = torch.stack([p.detach().sum() for p in model.parameters()])
        other = sums.clone()
        distributed.broadcast(other, 0)
        assert torch.equal(sums, other), f'the processes differ: {name}'
    distributed.destroy_process_group()


def test_two_processes_train_every_head() -> None:
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    multiprocessing.spawn(_train, (port,), nprocs=2)
