"""``tools/publish_model.py`` as a user calls it, and what its files are good for."""

import hashlib
import json
import sys
from pathlib import Path

import pytest
import torch
import yaml
from mmengine.config import Config
from mmengine.runner import Runner
from PIL import Image
from safetensors import safe_open

from mmocl.apis import SlotInferencer, find_model
from mmocl.model_files import inference_config, read_published
from tools import publish_model, train
from tools import test as test_tool

ROOT = Path(__file__).resolve().parents[1]
CONFIG = str(ROOT / 'configs/psa/psa_base_conv_sprites.py')
TINY = {
    'train_dataloader.batch_size': 2,
    'train_dataloader.dataset.num_images': 4,
    'val_dataloader.dataset.num_images': 4,
    'test_dataloader.dataset.num_images': 4,
    'test_dataloader.batch_size': 2,
    'default_hooks.checkpoint.interval': 1,
    'default_hooks.logger.interval': 1,
    'train_cfg.max_iters': 2,
    'train_cfg.val_interval': 2,
    'param_scheduler': None,
}
OPTIONS = ['--cfg-options', *(f'{key}={value}' for key, value in TINY.items())]


@pytest.fixture(scope='module')
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two steps and its scores."""
    folder = tmp_path_factory.mktemp('run')
    config = Config.fromfile(CONFIG)
    config.merge_from_dict({**TINY, 'work_dir': str(folder)})
    Runner.from_cfg(config).train()
    words = [CONFIG, str(folder / 'iter_2.pth'), '--work-dir', str(folder), *OPTIONS]
    call(test_tool, *words, '--protocol', 'square128')
    return folder


def call(tool, *words: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, 'argv', [f'{tool.__name__}.py', *words])
        tool.main()


def publish(trained: Path, out: Path, *words: str) -> None:
    call(publish_model, str(trained / 'iter_2.pth'), '--out', str(out), *words)


def test_a_file_that_stands_alone(trained: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / 'new' / 'a.safetensors'
    publish(trained, out, '--metrics', str(trained / 'scores.json'))
    printed = capsys.readouterr().out
    assert 'left out: message_hub, optimizer' in printed
    assert 'metrics: square128' in printed
    assert hashlib.sha256(out.read_bytes()).hexdigest() in printed
    assert out.stat().st_size < (trained / 'iter_2.pth').stat().st_size / 2

    kept = read_published(out)
    content = torch.load(trained / 'iter_2.pth', weights_only=False)
    assert kept.weights.keys() == content['state_dict'].keys()
    assert (kept.seed, kept.steps) == (0, 2)
    scores = json.loads((trained / 'scores.json').read_text())
    found = kept.metrics['square128']
    assert (found['protocol'], found['version'], found['num_images']) == ('square128', 1, 4)
    assert found['scores']['ari']['mean'] == scores['metrics']['square128/ari']
    assert kept.config['model'] == Config.fromfile(CONFIG).model.to_dict()
    # Nothing says where it was made.
    with safe_open(out, 'pt') as file:
        text = str(file.metadata())
    assert str(trained) not in text
    assert str(ROOT) not in text

    Image.new('RGB', (40, 30), 'red').save(tmp_path / 'a.png')
    alone = SlotInferencer(str(out), device='cpu', show_progress=False)
    whole = SlotInferencer(CONFIG, str(trained / 'iter_2.pth'), 'cpu', show_progress=False)
    masks = []
    for inferencer in (alone, whole):
        torch.manual_seed(0)
        masks.append(inferencer(str(tmp_path / 'a.png'))['predictions'][0]['masks'])
    torch.testing.assert_close(*map(torch.as_tensor, masks), rtol=0, atol=0)


def test_tools_take_it_for_a_checkpoint(trained: Path, tmp_path: Path) -> None:
    out = tmp_path / 'iter_2.safetensors'
    publish(trained, out)
    words = ['--work-dir', str(tmp_path), '--protocol', 'square128', *OPTIONS]
    call(test_tool, CONFIG, str(out), *words)
    wanted, found = (
        json.loads((folder / 'scores.json').read_text()) for folder in (trained, tmp_path)
    )
    assert found['metrics'] == wanted['metrics']
    for key in ('training_seed', 'steps', 'training'):
        assert found[key] == wanted[key]

    config = Config.fromfile(CONFIG)
    config.merge_from_dict({**TINY, 'work_dir': str(tmp_path / 'w'), 'load_from': str(out)})
    runner = Runner.from_cfg(config)
    runner.load_or_resume()
    for key, value in read_published(out).weights.items():
        torch.testing.assert_close(runner.model.state_dict()[key].cpu(), value)
    options = ['--cfg-options', 'resume=True', f'load_from={out}']
    for words in (['--resume', str(out)], options):
        with pytest.raises(ValueError, match=r'no state of its training, .* load_from='):
            call(train, CONFIG, '--work-dir', str(tmp_path), *words)


def test_the_same_model_gives_the_same_file(trained: Path, tmp_path: Path) -> None:
    older = tmp_path / 'a.safetensors'
    older.write_text('of another model')
    for name in ('a', 'b'):
        publish(trained, tmp_path / f'{name}.safetensors', '--hash')
    assert older.read_text() == 'of another model'
    files = sorted(tmp_path.glob('*-*.safetensors'))
    assert len(files) == 2
    data = files[0].read_bytes()
    assert files[1].read_bytes() == data
    assert files[0].name == f'a-{hashlib.sha256(data).hexdigest()[:8]}.safetensors'


def test_an_index_names_it(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = tmp_path / 'model-index.yml'
    metrics = ['--metrics', str(trained / 'scores.json')]
    for _ in range(2):  # the second in place of the first
        publish(trained, tmp_path / 'files' / 'mine.safetensors', '--index', str(index), *metrics)
    publish(trained, tmp_path / 'other.safetensors', '--index', str(index))
    models = yaml.safe_load(index.read_text())['Models']
    assert [model['Name'] for model in models] == ['mine', 'other']
    assert models[0]['Weights'] == 'files/mine.safetensors'
    assert models[0]['Results'][0]['Metrics'].keys() >= {'square128/ari'}
    assert find_model('mine', index) == (None, str(tmp_path / 'files/mine.safetensors'))
    monkeypatch.setenv('MMOCL_MODEL_INDEX', str(index))
    assert SlotInferencer('mine', device='cpu').model.slot_head.slot_dim == 32


def test_what_does_not_belong_together_is_refused(trained: Path, tmp_path: Path) -> None:
    out = tmp_path / 'a.safetensors'
    with pytest.raises(ValueError, match=r"--out must end with \.safetensors, got '.*a\.pth'"):
        publish(trained, tmp_path / 'a.pth')
    other = str(ROOT / 'configs/psa/psa_conv_sprites.py')
    message = r"Checkpoint .*iter_2\.pth does not fit the model of '.*/psa_conv_sprites\.py'"
    with pytest.raises(ValueError, match=message):
        publish(trained, out, '--config', other)
    scores = json.loads((trained / 'scores.json').read_text())
    file = tmp_path / 'scores.json'
    for content, match in (
        ({**scores, 'steps': 9}, r"of another checkpoint: .* \('iter_2\.pth', 0, 9\), expected"),
        (
            {**scores, 'checkpoint_sha256': '0' * 64},
            r'another checkpoint: SHA-256 0{64}, but .*iter_2',
        ),
        ({'ari': 1}, 'holds no results of tools/test.py --out'),
    ):
        file.write_text(json.dumps(content))
        with pytest.raises(ValueError, match=match):
            publish(trained, out, '--metrics', str(file))
    # Files of older versions do not say which weights were scored.
    older = {key: value for key, value in scores.items() if key != 'checkpoint_sha256'}
    file.write_text(json.dumps(older))
    publish(trained, out, '--metrics', str(file))
    content = torch.load(trained / 'iter_2.pth', weights_only=False)
    torch.save({'state_dict': content['state_dict']}, tmp_path / 'bare.pth')
    with pytest.raises(ValueError, match=r'bare\.pth has no config; give it with --config'):
        call(publish_model, str(tmp_path / 'bare.pth'), '--out', str(out))
    call(publish_model, str(tmp_path / 'bare.pth'), '--out', str(out), '--config', CONFIG)
    assert read_published(out).seed is None


def test_the_model_of_a_slot_backbone_is_inside(tmp_path: Path) -> None:
    (tmp_path / 'inner.py').write_text('model = ' + repr(Config.fromfile(CONFIG).model.to_dict()))
    backbone = {'type': 'SlotBackbone', 'model': str(tmp_path / 'inner.py')}
    found = publish_model.with_inner_model({'type': 'MapBackbone', 'backbone': backbone})
    assert found['backbone']['model'] == Config.fromfile(CONFIG).model.to_dict()
    inference_config({'model': {'type': 'SlotAutoencoder', 'backbone': found}}, 'a.safetensors')
