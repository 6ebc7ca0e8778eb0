"""``tools/export.py`` as a user calls it, and the files that it writes."""

import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config

from mmocl.apis import SlotInferencer
from mmocl.export import ExportedModel, image_shape, parity
from mmocl.registry import MODELS

ROOT = Path(__file__).resolve().parents[1]
# Tracing meets the checks of shapes that pytest installs here, hence another process; one for all,
# since the first export of a process takes longest.
MATRIX = """
import sys
from pathlib import Path
import onnx
import onnxruntime
import torch
from mmengine.registry import init_default_scope
from mmocl.export import ExportedModel, max_differences, write_onnx, write_program
from mmocl.registry import MODELS
from tools import export

init_default_scope('mmocl')
folder, config, checkpoint = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
BACKBONES = {
    'conv': ({'type': 'ConvEncoder', 'channels': 8, 'strides': (2, 2)}, (6, 8), 4, (24, 32)),
    'vit': (
        {'type': 'TimmBackbone', 'model_name': 'vit_tiny_patch16_224', 'block': 0},
        (3, 2), 16, (48, 32),
    ),
}


def build(head, name):
    backbone, grid, patch, shape = BACKBONES[name]
    torch.manual_seed(0)
    head = {'slot_dim': 12, 'embed_channels': 16, 'num_iters': 2, **head}
    model = MODELS.build({
        'type': 'SlotAutoencoder', 'backbone': backbone,
        'slot_head': {**head, 'initializer': {'type': 'GaussianSlots', 'num_slots': 3}},
        'decoder': {'type': 'MLPDecoder', 'grid': grid, 'hidden_channels': 16, 'num_hidden': 1},
        'target': {'type': 'PixelTarget', 'patch_size': patch},
        'losses': [{'type': 'ReconstructionLoss'}],
    })
    return ExportedModel(model, shape, num_slots=4), shape, grid


def agrees(model, path, shape, *sizes):
    found = max_differences(model, path, shape, sizes)
    assert all(value < 1e-4 for value in found.values()), (path, found)
    print(path.name, 'agrees')


SA = {'type': 'SlotAttention', 'num_heads': 2}
SMM = {'type': 'SlotMixture'}
PSA = {'type': 'ProbabilisticSlotAttention', 'variance': 'map', 'gradient': 'bilevel'}
for number, (head, name) in enumerate([(SA, 'vit'), (SMM, 'conv'), (PSA, 'vit')]):
    model, shape, grid = build(head, name)
    free = folder / f'free{number}.onnx'
    write_onnx(model, free, shape)
    agrees(model, free, shape, 1, 3, 5)
for number, (head, name) in enumerate(
    [(SA, 'conv'), (SMM, 'vit'), (PSA, 'conv'), ({**PSA, 'prune_threshold': 0.2}, 'conv')]
):
    model, shape, grid = build(head, name)
    program = folder / f'free{number}.pt2'
    write_program(model, program, shape)
    agrees(model, program, shape, 1, 3, 5)

session = onnxruntime.InferenceSession(free)
model, shape, grid = build(PSA, 'vit')
assert [(x.name, x.shape) for x in session.get_inputs()] == [('image', ['batch', 3, *shape])]
outputs = {x.name: x.shape for x in session.get_outputs()}
assert list(outputs) == ['slots', 'masks', 'attention', 'weights'], outputs
assert outputs['slots'][1:] == [4, 12] and outputs['masks'][1:] == [4, *grid], outputs
images = 255 * torch.rand(3, 3, *shape)
slots, masks, attention, weights = map(
    torch.as_tensor, session.run(None, {'image': images.numpy()})
)
torch.testing.assert_close(masks.sum(1), torch.ones(3, *grid))
torch.testing.assert_close(weights.sum(1), torch.ones(3))
# No image knows of the others, and nothing is drawn anew.
(alone,) = session.run(['slots'], {'image': images[1:2].numpy()})
torch.testing.assert_close(torch.as_tensor(alone[0]), slots[1], rtol=1e-4, atol=1e-4)

out = folder / 'new' / 'fixed.onnx'
sys.argv = ['export.py', config, checkpoint, '--out', str(out), '--batch-size', '2']
sys.argv += ['--num-iters', '2']
export.main()
model = onnx.load(out)
assert '"model": "psa_base_conv_sprites"' in {p.key: p.value for p in model.metadata_props}['mmocl']
assert model.opset_import[0].version == 18
assert onnxruntime.InferenceSession(out).get_inputs()[0].shape == [2, 3, 32, 32]
assert [path.name for path in out.parent.iterdir()] == ['fixed.onnx']
"""


CONFIG = 'configs/psa/psa_base_conv_sprites.py'


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp('model') / 'model.pth'
    model = MODELS.build(Config.fromfile(ROOT / CONFIG).model)
    torch.save({'state_dict': model.state_dict()}, path)
    return str(path)


def test_files_agree_with_the_model(checkpoint: str, tmp_path: Path) -> None:
    log = run('-c', MATRIX, str(tmp_path), CONFIG, checkpoint)
    assert log.count('agrees') == 7
    assert 'batches of 2 of 3x32x32' in log
    assert 'in onnxruntime with batches of (2,): slots ' in log


def run(*words: str, fails: bool = False) -> str:
    """Run Python in the repository and return what it printed."""
    env = {**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'}
    command = [sys.executable, *words]
    found = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert (found.returncode != 0) is fails, found.stdout[-3000:] + found.stderr[-3000:]
    return found.stdout + found.stderr


def test_what_cannot_be_exported_is_told(
    checkpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tools import export

    def refused(error: type[Exception], match: str, *words: str) -> None:
        monkeypatch.setattr(sys, 'argv', ['export.py', *words])
        with pytest.raises(error, match=match):
            export.main()

    config = str(ROOT / CONFIG)
    out = str(tmp_path / 'a.onnx')
    refused(ValueError, r'--out must end with \.onnx or \.pt2', config, checkpoint, '--out', 'a.pt')
    refused(ValueError, 'Give a checkpoint: ', config, '--out', out)
    few = ['--out', out, '--batch-size', '0']
    refused(ValueError, '--batch-size must be at least 1, got 0', config, checkpoint, *few)
    slots = ['--out', out, '--num-slots', '2000']
    refused(ValueError, '2000 slots cannot share', config, checkpoint, *slots)
    monkeypatch.setitem(sys.modules, 'onnxscript', None)
    refused(ImportError, r"pip install 'mmocl\[export\]'", config, checkpoint, '--out', out)


def test_a_file_that_differs_is_refused(
    checkpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tools import export

    monkeypatch.setattr(export, 'max_differences', lambda *_: {'slots': 0.0, 'masks': float('nan')})
    with pytest.raises(ValueError, match=r'differs from the model by more than 0\.0001'):
        export.check(None, 'a.onnx', (8, 8), (1,))


def test_options_reach_the_file(
    checkpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tools import export

    made = []

    def write(model: ExportedModel, path: str, *_: object) -> None:
        made.append(model)
        Path(path).touch()

    monkeypatch.setattr(export, 'write_program', write)
    words = ['export.py', str(ROOT / CONFIG), checkpoint, '--out', str(tmp_path / 'a.pt2')]
    options = ['--no-check', '--num-slots', '4', '--num-iters', '2', '--seed', '7']
    monkeypatch.setattr(sys, 'argv', [*words, *options])
    export.main()
    (model,) = made
    noise = torch.randn(1, 4, 32, generator=torch.Generator().manual_seed(7))
    torch.testing.assert_close(model.noise, noise)
    assert model.options == {'num_slots': 4, 'num_iters': 2}


def test_nan_is_a_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    model = ExportedModel(build(), (32, 32))

    def broken(_: str) -> Callable[[torch.Tensor], list[torch.Tensor]]:
        return lambda images: [
            value * (math.nan if len(images) == 1 else 1) for value in model(images)
        ]

    monkeypatch.setattr(parity, '_program', broken)
    found = parity.max_differences(model, 'a.pt2', (32, 32), (1, 2))
    assert all(math.isnan(value) for value in found.values())


def build(**options) -> torch.nn.Module:
    config = Config.fromfile(ROOT / CONFIG).model
    config.slot_head.update(options)
    torch.manual_seed(0)
    return MODELS.build(config).eval()


def test_the_wrapper_is_the_model_with_one_start() -> None:
    model = build()
    exported = ExportedModel(model, (32, 32), num_iters=2, seed=5)
    images = torch.randint(256, (3, 3, 32, 32), dtype=torch.uint8)
    slots, masks, attention, weights = exported(images.float())
    assert exported.noise.shape == (1, 5, 32)
    inputs = model.data_preprocessor({'inputs': images})['inputs']
    noise = model.slot_head.initializer.seeded_noise(3, seed=5)
    output = model.run(inputs, num_iters=2, noise=noise)
    torch.testing.assert_close(slots, output.slots.slots)
    torch.testing.assert_close(masks, output.decoded.masks)
    torch.testing.assert_close(attention.flatten(2), output.slots.attn)
    torch.testing.assert_close(weights, output.slots.state.log_weight.exp())


def test_the_wrapper_gives_what_an_inferencer_gives() -> None:
    config = Config.fromfile(ROOT / CONFIG)
    # No multiple of 16, of which PyTorch draws in another order.
    config.model.slot_head.slot_dim = 24
    inferencer = SlotInferencer(config, device='cpu', show_progress=False)
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    (want,) = inferencer(image, seed=3, num_slots=4)['predictions']
    exported = ExportedModel(inferencer.model, (32, 32), num_slots=4, seed=3)
    slots, masks, _, _ = exported(torch.tensor(image).permute(2, 0, 1)[None].float())
    np.testing.assert_allclose(slots[0], want['slots'], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(masks[0], want['masks'], rtol=1e-5, atol=1e-5)


def test_pruned_slots_get_nothing() -> None:
    model = build(prune_threshold=0.2)
    images = 255 * torch.rand(4, 3, 32, 32)
    exported = ExportedModel(model, (32, 32))
    _, masks, attention, _ = exported(images)
    inputs = model.data_preprocessor({'inputs': images})['inputs']
    output = model.run(inputs, noise=exported.noise.expand(4, -1, -1))
    assert not output.slots.active.all()
    torch.testing.assert_close(masks, output.decoded.masks)
    torch.testing.assert_close(attention.flatten(2), output.slots.attn)
    assert (masks[~output.slots.active] == 0).all()


def test_other_models(tmp_path: Path) -> None:
    model = build(initializer={'type': 'LearnedSlots', 'num_slots': 4, 'slot_dim': 32})
    assert ExportedModel(model, (32, 32)).noise is None
    with_sampling = build()
    with_sampling.slot_head.to_slots = lambda state: state.mean + torch.randn_like(state.mean)
    with pytest.raises(ValueError, match='draws random numbers of its own'):
        ExportedModel(with_sampling, (32, 32))


def test_shapes_of_configs() -> None:
    def shape(**dataset) -> tuple[int, int]:
        return image_shape(Config({'test_dataloader': {'dataset': dataset}}))

    assert shape(image_size=64) == (64, 64)
    load, crop = {'type': 'LoadImage'}, {'type': 'mmocl.ResizeCrop', 'size': 224}
    assert shape(pipeline=[load, crop]) == (224, 224)
    with pytest.raises(ValueError, match='give --shape H W'):
        shape(pipeline=[load])
    for path in sorted((ROOT / 'configs').glob('*/psa*.py'))[:3]:
        assert min(image_shape(Config.fromfile(path))) >= 32
