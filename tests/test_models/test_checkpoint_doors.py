"""Every way to load weights refuses a pickle that would run code."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from evil_files import legacy, with_evil_config, zipped
from mmengine.config import Config
from mmengine.runner import Runner
from PIL import Image
from safetensors.torch import save_file

from mmocl.apis import SlotInferencer, resolve_model
from mmocl.evaluation.lpips import build_lpips
from mmocl.evaluation.metrics import FrechetDistanceMetric
from mmocl.model_files import PublishedModel, read_published, write_published
from mmocl.models.backbones import SlotBackbone, TimmBackbone
from mmocl.registry import MODELS

ROOT = Path(__file__).resolve().parents[2]
CONFIG = str(ROOT / 'configs/psa/psa_base_conv_sprites.py')
CONV = {'type': 'ConvEncoder', 'channels': 4, 'strides': (2,)}
REFUSED = r'evil\.pth.* was not loaded: it asks for (posix|nt)\.mkdir'
MODEL = {
    'type': 'SlotAutoencoder',
    'backbone': CONV,
    'slot_head': {
        'type': 'SlotAttention',
        'slot_dim': 6,
        'initializer': {'type': 'LearnedSlots', 'num_slots': 2},
    },
    'decoder': {'type': 'MLPDecoder', 'grid': (8, 8), 'hidden_channels': 8},
    'target': {'type': 'PixelTarget', 'patch_size': 2},
    'losses': [{'type': 'ReconstructionLoss'}],
}
DATA = {'dataset': {'type': 'ColoredSprites', 'image_size': 16}}


@pytest.fixture
def proof(tmp_path: Path) -> Path:
    """What the code in the files would create."""
    return tmp_path / 'proof'


@pytest.fixture
def evil(tmp_path: Path, proof: Path) -> str:
    return str(zipped(tmp_path / 'evil.pth', proof))


DOORS = {
    'inferencer': lambda path: SlotInferencer(CONFIG, path, device='cpu'),
    'inferencer without config': lambda path: SlotInferencer(path, device='cpu'),
    'timm': lambda path: TimmBackbone('vit_tiny_patch16_224', checkpoint=path),
    'slot backbone': lambda path: SlotBackbone(CONFIG, path),
    'frechet': lambda path: FrechetDistanceMetric(feature=CONV, weights=path),
    'lpips': lambda path: build_lpips('alex', path),
}


@pytest.mark.parametrize('door', DOORS)
def test_doors_of_python(door: str, evil: str, proof: Path) -> None:
    with pytest.raises(ValueError, match=REFUSED):
        DOORS[door](evil)
    assert not proof.exists()


TOOLS = {
    'test': [CONFIG, 'EVIL', '--out', 'scores.json'],
    'dump_slots': [CONFIG, 'EVIL', 'slots.npz'],
    'publish_model': ['EVIL', '--out', 'a.safetensors', '--config', CONFIG],
    'compose': [CONFIG, 'EVIL', '--out', 'a.png'],
    'get_flops': [CONFIG, 'EVIL'],
    'export_masks': ['photo.png', CONFIG, 'EVIL', '--format', 'png', '--out', 'masks'],
    'infer': ['photo.png', CONFIG, 'EVIL'],
    'export': [CONFIG, 'EVIL', '--out', 'a.onnx'],
}


@pytest.mark.parametrize('name', TOOLS)
def test_doors_of_the_command_line(
    name: str, evil: str, proof: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = __import__(f'tools.{name}', fromlist=['main'])
    words = [evil if word == 'EVIL' else word for word in TOOLS[name]]
    monkeypatch.setattr(sys, 'argv', [f'{name}.py', *words])
    monkeypatch.chdir(tmp_path)
    Image.new('RGB', (4, 4)).save('photo.png')
    with pytest.raises(ValueError, match=REFUSED):
        tool.main()
    assert not proof.exists()


@pytest.mark.parametrize('how', ['test', 'train', 'resume', 'auto'])
def test_doors_of_a_runner(how: str, tmp_path: Path, proof: Path) -> None:
    config = Config.fromfile(CONFIG)
    evil = legacy(tmp_path / 'evil.pth', proof)
    config.merge_from_dict({'work_dir': str(tmp_path), 'param_scheduler': None})
    config.load_from = None if how == 'auto' else str(evil)
    config.resume = how in ('resume', 'auto')
    (tmp_path / 'last_checkpoint').write_text(str(evil))
    config.train_dataloader.dataset.num_images = config.val_dataloader.dataset.num_images = 4
    runner = Runner.from_cfg(config)
    with pytest.raises(ValueError, match=REFUSED):
        runner.test() if how == 'test' else runner.train()
    assert not proof.exists()


def test_a_config_inside_a_checkpoint_is_not_run(
    tmp_path: Path, proof: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = f"__import__('os').mkdir({str(proof)!r})"
    path = str(tmp_path / 'a.pth')
    torch.save({'state_dict': {}, 'meta': {'cfg': text, 'config': text}}, path)
    with pytest.raises(ValueError, match='more than plain values, and is not run'):
        SlotInferencer(path, device='cpu')
    for name, words in (('test', [CONFIG, path, '--out', 'o.json']), ('publish_model', [path])):
        tool = __import__(f'tools.{name}', fromlist=['main'])
        end = ['--out', 'a.safetensors'] if name == 'publish_model' else []
        monkeypatch.setattr(sys, 'argv', [name, *words, *end])
        monkeypatch.chdir(tmp_path)
        with pytest.raises(ValueError, match='more than plain values, and is not run'):
            tool.main()
    assert not proof.exists()


@pytest.mark.parametrize('door', ['inferencer', 'resolve_model', 'publish_model'])
def test_a_config_inside_a_checkpoint_calls_only_what_is_registered(
    door: str, tmp_path: Path, proof: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(with_evil_config(tmp_path / 'evil.pth', proof))
    words = [path, '--out', str(tmp_path / 'a.safetensors')]
    monkeypatch.setattr(sys, 'argv', ['publish_model.py', *words])
    tool = __import__('tools.publish_model', fromlist=['main'])
    calls = {
        'inferencer': lambda: SlotInferencer(path, device='cpu'),
        'resolve_model': lambda: resolve_model(None, path),
        'publish_model': tool.main,
    }
    with pytest.raises(ValueError, match=r"evil\.pth wants .*type='os\.mkdir', which is not regis"):
        calls[door]()
    assert not proof.exists()


@pytest.mark.parametrize(
    ('part', 'named'),
    [
        ({'type': 'os.mkdir', 'path': 'PROOF'}, 'os.mkdir'),
        ({'type': 'mmengine.load', 'file': 'PROOF'}, 'mmengine.load'),
        ({'type': ['os.mkdir']}, 'os.mkdir'),
        ({**CONV, '_scope_': 'subprocess'}, 'subprocess'),
        ({'type': 'SlotBackbone', 'model': 'evil.py'}, 'the Python file .*evil.py'),
        ({'type': 'SlotBackbone', 'model': 'evil.json'}, 'the config file .*evil.json'),
        ({'type': 'TimmBackbone', 'model_name': 'hf-hub:a/b'}, 'a model from elsewhere, .*hf-hub'),
        ({'type': 'TimmBackbone', 'checkpoint_path': 'a.pth'}, 'a file of weights, .*a.pth'),
    ],
)
def test_a_config_inside_a_published_file_calls_only_what_is_registered(
    part: dict, named: str, tmp_path: Path, proof: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'evil.py').write_text(f"__import__('os').mkdir({str(proof)!r})")
    (tmp_path / 'evil.json').write_text('{"_base_": "evil.py", "model": {"type": "A"}}')
    part = {key: str(proof) if value == 'PROOF' else value for key, value in part.items()}
    weights = MODELS.build(MODEL).state_dict()
    for where in ('backbone', 'pipeline'):
        model = {**MODEL, 'backbone': part} if where == 'backbone' else MODEL
        data = {'dataset': {**DATA['dataset'], 'pipeline': [part]}}
        config = {'model': model, 'test_dataloader': data if where == 'pipeline' else DATA}
        write_published('a.safetensors', PublishedModel(config, weights))
        with pytest.raises(ValueError, match=rf'a\.safetensors wants .*{named}'):
            SlotInferencer('a.safetensors', device='cpu')
    write_published(
        'a.safetensors', PublishedModel({'model': MODEL, 'default_scope': 'os'}, weights)
    )
    with pytest.raises(ValueError, match=r"wants default_scope='os', expected one of \('mmocl', "):
        SlotInferencer('a.safetensors', device='cpu')
    assert not proof.exists()


def test_a_good_file_passes(tmp_path: Path) -> None:
    model = MODELS.build(MODEL)
    config = {'model': MODEL, 'test_dataloader': DATA, 'default_scope': 'mmocl', 'odd': (1, [()])}
    path = tmp_path / 'a.safetensors'
    write_published(path, PublishedModel(config, model.state_dict(), seed=3, steps=7))
    first = path.read_bytes()
    write_published(path, PublishedModel(config, model.state_dict(), seed=3, steps=7))
    assert path.read_bytes() == first
    published = read_published(path)
    assert published.config == config  # tuples too
    assert (published.seed, published.steps) == (3, 7)
    for source in ((path,), (str(path),), (None, path), (config, path), (Config(config), path)):
        inferencer = SlotInferencer(*source, device='cpu', show_progress=False)
        for key, value in model.state_dict().items():
            torch.testing.assert_close(inferencer.model.state_dict()[key], value)
    with pytest.raises(ValueError, match='got two of weights'):
        resolve_model(path, path)
    torch.save({'state_dict': model.state_dict()}, tmp_path / 'a.pth')
    with pytest.raises(ValueError, match=r'a\.pth has no config inside; give the config file too'):
        SlotInferencer(str(tmp_path / 'a.pth'))


def test_a_file_with_a_backbone_of_mmsegmentation_needs_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resnet = {'type': 'mmseg.ResNetV1c', 'depth': 18, 'stem_channels': 8, 'base_channels': 8}
    backbone = {**resnet, 'norm_cfg': {'type': 'BN'}, 'num_stages': 1}
    backbone |= {'strides': (1,), 'dilations': (1,), 'out_indices': (0,)}
    model = {**MODEL, 'backbone': backbone, 'target': {'type': 'PixelTarget', 'patch_size': 4}}
    model['decoder'] = {**MODEL['decoder'], 'grid': (4, 4)}
    path = tmp_path / 'a.safetensors'
    config = {'model': model, 'test_dataloader': DATA}
    write_published(path, PublishedModel(config, MODELS.build(model).state_dict()))
    # In a process that has not imported mmsegmentation yet.
    code = 'import sys; from mmocl.apis import SlotInferencer; SlotInferencer(sys.argv[1])'
    env = {**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'}
    command = [sys.executable, '-W', 'ignore', '-c', code, str(path)]
    found = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr[-2000:]
    monkeypatch.setitem(sys.modules, 'mmseg.registry', None)
    with pytest.raises(ImportError, match=r"a\.safetensors needs mmseg, .* pip install 'mmocl\["):
        SlotInferencer(path)


def header(path: Path, change: dict) -> None:
    """Change a file's header, and nothing else of it."""
    data = path.read_bytes()
    size = int.from_bytes(data[:8], 'little')
    head = json.loads(data[8 : 8 + size])
    about = json.loads(head['__metadata__']['mmocl']) | change
    head['__metadata__']['mmocl'] = json.dumps({k: v for k, v in about.items() if v != 'DROP'})
    text = json.dumps(head).encode()
    text += b' ' * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, 'little') + text + data[8 + size :])


def test_damaged_foreign_and_newer_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / 'a.safetensors'
    good = PublishedModel({'model': MODEL}, MODELS.build(MODEL).state_dict())
    data = write_published(path, good)

    def refused(match: str) -> None:
        with pytest.raises(ValueError, match=rf'a\.safetensors.* {match}'):
            SlotInferencer(path, device='cpu')

    for size in (0, 5, 100, len(data) - 1):
        path.write_bytes(data[:size])
        refused('is damaged, or no safetensors file: ')
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    refused('is damaged: its weights are not those that were written')
    torch.save({'state_dict': {}}, path)
    refused('is damaged, or no safetensors file: ')
    for metadata in (None, {'format': 'pt'}, {'mmocl': '{}'}, {'mmocl': 'x'}):
        save_file({'w': torch.zeros(1)}, path, metadata)
        refused(r'was not written by tools/publish_model\.py')
    for change, match in (
        ({'format': 2, 'versions': {'mmocl': '9.9'}}, r'has format 2, .* up to 1: .*9\.9'),
        ({'format': 3, 'versions': [1]}, r'has format 3, .* with \[1\]'),
        ({'format': None}, 'is damaged: it has format None'),
        ({'format': -1}, 'is damaged: it has format -1'),
        ({'config': None}, "is damaged: config of its header is 'None'"),
        ({'config': [1]}, 'is damaged: config of its header'),
        ({'config': {'a': {'__tuple__': 3}}}, 'is damaged: its config is nested wrongly .a tuple'),
        ({'seed': 'x'}, "is damaged: seed of its header is 'x'"),
        ({'config': {'model': {'slot_head': {}}}}, 'has no model'),
        ({'config': {'model': 5}}, 'has no model'),
        ({'config': 'DROP'}, 'is damaged: its header lacks config'),
    ):
        path.write_bytes(data)
        header(path, change)
        refused(match)
    for loader in ({'dataset': {'pipeline': 'abc'}}, {'dataset': [1]}, [1]):
        path.write_bytes(data)
        header(path, {'config': {'model': MODEL, 'test_dataloader': loader}})
        refused('has test_dataloader=.*, expected a dict with a dataset whose pipeline is a list')
    for text in ('[' * 200_000, '{"kind":"model","format":1,"config":' + '{"a":' * 9000):
        save_file({'w': torch.zeros(1)}, path, {'mmocl': text})
        refused(r'was not written by tools/publish_model\.py')
    with pytest.raises(FileNotFoundError, match='No config or model at'):
        SlotInferencer(str(tmp_path / 'absent.safetensors'))
    with pytest.raises(FileNotFoundError, match='No published model at'):
        read_published(tmp_path / 'absent.safetensors')
