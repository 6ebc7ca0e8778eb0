import subprocess
import sys
from unittest.mock import Mock

import pytest
from mmengine.runner import Runner
from torch import nn

from mmocl.engine.hooks import CompileHook

# Dynamo cannot trace the checks of shapes that pytest installs here, hence another process. The
# decoder's convolutions ask for 16 images at least: PyTorch takes other kernels for fewer.
SCRIPT = """
import copy
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
    # A number that a hook anneals becomes a symbol at its first change.
    start = model.slot_head.initializer
    if hasattr(start, 'sigma'):
        model.train()
        for step in range(4):
            start.sigma = 0.9 - 0.1 * step
            model.loss(images)
        assert counters['stats']['unique_graphs'] <= graphs + 1, counters
    twin = copy.deepcopy(model)
    for parameter in twin.parameters():
        parameter.data.zero_()
    with torch.no_grad():
        assert not twin.eval()(images).slots.slots.any()
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


SEGMENTATION = """
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from mmocl.engine.hooks import CompileHook

init_default_scope('mmseg')
config = Config.fromfile('projects/mmseg_slot_head/configs/slot_semantic_voc.py').model
config.backbone.update(checkpoint=None, block=0)
model = MODELS.build(config).train()
ran = []


def backend(graph, inputs):
    ran.append(graph)
    return graph.forward


names = CompileHook(backend=backend).compile(model)
labels = torch.zeros(1, 224, 224, dtype=torch.long)
meta = {'img_shape': (224, 224), 'ori_shape': (224, 224), 'pad_shape': (224, 224)}
sample = SegDataSample(metainfo=meta, gt_sem_seg=PixelData(data=labels))
model.loss(torch.randn(2, 3, 224, 224), [sample] * 2)
print(names, len(ran))
"""


def test_slots_inside_mmsegmentation_are_compiled() -> None:
    command = [sys.executable, '-c', SEGMENTATION]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-3000:]
    assert run.stdout.splitlines()[-1] == "['backbone', 'decode_head.slot_head'] 2"
