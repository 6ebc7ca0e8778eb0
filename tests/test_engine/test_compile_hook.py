import subprocess
import sys
from unittest.mock import Mock

import pytest
from mmengine.runner import Runner
from torch import nn

from mmocl.engine.hooks import ChannelsLastHook, CompileHook

# Dynamo cannot trace the checks of shapes that pytest installs here, hence another process. The
# decoder's convolutions ask for 16 images at least: PyTorch takes other kernels for fewer.
SCRIPT = """
import logging
import sys
from types import SimpleNamespace

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch._dynamo.utils import counters

from mmocl.engine.hooks import CompileHook
from mmocl.registry import MODELS

init_default_scope('mmocl')
for path, side in zip(sys.argv[1::2], map(int, sys.argv[2::2])):
    config = Config.fromfile(path).model
    if config.backbone.type == 'TimmBackbone':
        config.backbone.update(checkpoint=None, pretrained=False, block=0)
    model = MODELS.build(config)
    torch.manual_seed(0)
    images = torch.randn(6, 3, side, side)
    torch.manual_seed(1)
    with torch.no_grad():
        expected = model.eval()(images).decoded.recon
    torch._dynamo.reset()
    counters.clear()
    names = set(model.state_dict())
    runner = SimpleNamespace(model=model, logger=logging.getLogger())
    for _ in range(2):  # test after training in one process
        CompileHook(backend='eager').before_run(runner)
    assert set(model.state_dict()) == names
    torch.manual_seed(1)
    with torch.no_grad():
        torch.testing.assert_close(model(images).decoded.recon, expected, rtol=1e-3, atol=1e-3)
    model.train()
    sum(model.loss(images).values()).backward()
    graphs = counters['stats']['unique_graphs']
    with torch._dynamo.config.patch(error_on_recompile=True):
        sum(model.loss(images[:4]).values()).backward()
        with torch.no_grad():
            model.eval()(images[:5])
    assert counters['stats']['unique_graphs'] == graphs, counters
    print(path, 'graphs', graphs, 'breaks', len(counters['graph_break']))
"""


def test_no_graph_breaks_and_no_recompilation_on_the_last_batch() -> None:
    configs = {
        'configs/psa/psa_dino_mlp_small.py': 224,
        'configs/smm/smm_conv_sprites.py': 32,
        'configs/boqsa/boqsa_transformer_sprites.py': 32,
    }
    arguments = [str(value) for item in configs.items() for value in item]
    run = subprocess.run(
        [sys.executable, '-c', SCRIPT, *arguments], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr[-3000:]
    found = [line for line in run.stdout.splitlines() if ' breaks ' in line]
    assert len(found) == len(configs)
    # Three parts, each once for training and once for evaluation.
    assert all(line.endswith('graphs 6 breaks 0') for line in found), found


def test_a_model_without_the_parts_is_refused() -> None:
    runner = Mock(spec=Runner, model=nn.Sequential(nn.Linear(2, 2)))
    with pytest.raises(ValueError, match=r"none of the parts .*expected some of \['0'\]"):
        CompileHook().before_run(runner)
    with pytest.raises(ValueError, match='at least one, got'):
        CompileHook(parts=[])


def test_maps_are_in_channels_last_order() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3))
    images = nn.Parameter(model[0].weight.new_ones(2, 3, 8, 8))
    before = model(images)
    ChannelsLastHook().before_run(Mock(spec=Runner, model=model))
    after = model(images)
    assert after.permute(0, 2, 3, 1).is_contiguous()
    assert not before.permute(0, 2, 3, 1).is_contiguous()
    assert after.sub(before).abs().max() < 1e-5
