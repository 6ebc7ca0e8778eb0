"""The command-line tools as a user calls them."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest
import timm
import torch
from PIL import Image

from tools import train as train_tool
from tools.results import entry_of
from tools.score_baselines import discovery_of

ROOT = Path(__file__).resolve().parents[1]
CONFIG = 'configs/psa/psa_conv_sprites.py'
TINY = [
    'train_dataloader.batch_size=4',
    'train_dataloader.dataset.num_images=64',
    'val_dataloader.dataset.num_images=6',
    'test_dataloader.dataset.num_images=6',
    'default_hooks.checkpoint.interval=3',
    'default_hooks.logger.interval=1',
    'param_scheduler=None',
    # Without random draws, so that a resumed run can be compared number by number.
    'model.slot_head.initializer.type=LearnedSlots',
]


def run(*command: str, **env: str) -> str:
    """Run a command in the repository and return what it printed."""
    env = {**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1', **env}
    env['PATH'] = f'{Path(sys.executable).parent}:{env["PATH"]}'
    result = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    return result.stdout + result.stderr


def train(work_dir: Path, max_iters: int, *flags: str) -> str:
    options = [*TINY, f'train_cfg.max_iters={max_iters}', 'train_cfg.val_interval=3']
    return run(
        sys.executable, 'tools/train.py', CONFIG, '--work-dir', str(work_dir), *flags,
        '--cfg-options', *options,
    )  # fmt: skip


@pytest.fixture(scope='module')
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    work_dir = tmp_path_factory.mktemp('trained')
    log = train(work_dir, 6)
    assert 'eta:' in log
    assert 'loss_reconstruction:' in log
    assert 'ocl/fg_ari:' in log
    assert 'protocol square128 v' in log
    return work_dir


def test_resume_continues_as_if_never_stopped(trained, tmp_path) -> None:
    train(tmp_path, 3)
    log = train(tmp_path, 6, '--resume')
    assert 'resumed' in log
    straight = torch.load(trained / 'iter_6.pth', weights_only=False)['state_dict']
    resumed = torch.load(tmp_path / 'iter_6.pth', weights_only=False)['state_dict']
    assert straight.keys() == resumed.keys()
    for name, value in straight.items():
        torch.testing.assert_close(resumed[name], value, msg=name)


def test_test_writes_metrics_and_pictures(trained, tmp_path) -> None:
    run(
        sys.executable, 'tools/test.py', CONFIG, str(trained / 'iter_6.pth'),
        '--work-dir', str(tmp_path / 'w'), '--show-dir', str(tmp_path / 'pictures'),
        '--cfg-options', *TINY,
    )  # fmt: skip
    (path,) = tmp_path.glob('w/*/*.json')
    metrics = json.loads(path.read_text())
    assert metrics['ocl/num_images'] == 6
    assert {'ocl/fg_ari', 'ocl/mbo_i', 'ocl/attn_mbo_c'} <= metrics.keys()
    assert all(value is not None for value in metrics.values())
    assert len(list((tmp_path / 'pictures').glob('*.png'))) == 6


def test_test_scores_several_protocols(trained, tmp_path) -> None:
    log = run(
        sys.executable, 'tools/test.py', CONFIG, str(trained / 'iter_6.pth'),
        '--work-dir', str(tmp_path), '--protocol', 'square128', 'square64', '--cfg-options', *TINY,
    )  # fmt: skip
    assert 'Pass 1 of 1: square128, square64' in log
    assert 'square128/fg_ari: ' in log
    scores = json.loads((tmp_path / 'scores.json').read_text())
    assert (scores['training_seed'], scores['test_seed'], scores['steps']) == (0, 0, 6)
    assert scores['data']['type'] == 'ColoredSprites'
    assert scores['command'].startswith(f'python tools/test.py {CONFIG} ')
    assert scores['records'].keys() == {'square128', 'square64'}
    for name, size in (('square128', 128), ('square64', 64)):
        found = scores['records'][name]
        assert scores['metrics'][f'{name}/fg_ari'] == found['summary']['fg_ari']['mean']
        assert (found['version'], found['num_images']) == (1, 6)
        assert found['switches']['mask_size'] == size
        interval = found['summary']['attn_fg_ari']
        assert interval['low'] <= interval['mean'] <= interval['high']
        record = json.loads(Path(found['path']).read_text())
        assert Path(found['path']) == tmp_path / 'scores.records' / f'{name}.json'
        assert len(record['images']) == 6
        assert record['source']['checkpoint'] == str(trained / 'iter_6.pth')
        assert record['source']['training_seed'] == 0
    # Both fit the 32x32 images of the config; another input is refused, not made up.
    with pytest.raises(AssertionError, match=r"'spot320' shows the model centre crops of 224x224"):
        run(
            sys.executable, 'tools/test.py', CONFIG, str(trained / 'iter_6.pth'),
            '--work-dir', str(tmp_path), '--protocol', 'spot320', '--cfg-options', *TINY,
        )  # fmt: skip


def test_results_of_all_evaluators_and_seeds(trained, tmp_path) -> None:
    config = tmp_path / 'config.py'
    config.write_text(
        f'_base_ = [{str(ROOT / CONFIG)!r}]\n'
        'test_evaluator = [\n'
        "    dict(type='ObjectDiscoveryMetric', protocol='square128'),\n"
        "    dict(type='ImageReconstructionMetric'),\n"
        "    dict(type='CollapseMetric'),\n"
        ']\n'
    )
    out = tmp_path / 'scores.json'
    run(
        sys.executable, 'tools/test.py', str(config), str(trained / 'iter_6.pth'),
        '--work-dir', str(tmp_path / 'w'), '--out', str(out), '--cfg-options', *TINY,
        'randomness.seed=7',
    )  # fmt: skip
    scores = json.loads(out.read_text())
    assert (scores['training_seed'], scores['test_seed']) == (0, 7)
    assert 'randomness.seed' not in scores['options']
    assert scores['records'].keys() == {'ocl', 'image'}
    interval = scores['records']['image']['summary']['ssim']
    assert interval['low'] <= interval['mean'] <= interval['high']
    assert scores['metrics']['image/ssim'] == pytest.approx(interval['mean'])
    assert 0 <= scores['metrics']['collapse/mask_entropy'] <= 1
    other = json.loads(out.read_text()) | {'training_seed': 1}
    (tmp_path / 'other.json').write_text(json.dumps(other))
    files = [str(out), str(tmp_path / 'other.json')]
    assert 'collapse/mask_entropy' in run(sys.executable, 'tools/summarize_seeds.py', *files)


def test_infer_draws_a_picture(trained, tmp_path) -> None:
    Image.new('RGB', (50, 40), 'red').save(tmp_path / 'photo.jpg')
    run(
        sys.executable, 'tools/infer.py', str(tmp_path / 'photo.jpg'), CONFIG,
        str(trained / 'iter_6.pth'), '--out-dir', str(tmp_path / 'out'), '--device', 'cpu',
        '--cfg-options', *TINY,
    )  # fmt: skip
    with Image.open(tmp_path / 'out' / 'overlays' / 'photo.jpg') as picture:
        assert picture.size == (50, 40)


@pytest.mark.parametrize('gradient', ['bilevel', 'implicit'])
def test_two_processes_train_and_test(gradient, tmp_path) -> None:
    options = [
        *TINY, f'model.slot_head.gradient={gradient}',
        'train_cfg.max_iters=3', 'train_cfg.val_interval=3',
    ]  # fmt: skip
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = {'PORT': str(free.getsockname()[1])}
    log = run(
        'bash', 'tools/dist_train.sh', CONFIG, '2', '--work-dir', str(tmp_path),
        '--cfg-options', *options, **port,
    )  # fmt: skip
    assert 'Iter(train) [3/3]' in log
    log = run(
        'bash', 'tools/dist_test.sh', CONFIG, str(tmp_path / 'iter_3.pth'), '2',
        '--work-dir', str(tmp_path), '--cfg-options', *options, **port,
    )  # fmt: skip
    assert 'ocl/num_images: 6.0' in log


def test_a_missing_checkpoint_is_named(tmp_path) -> None:
    with pytest.raises(AssertionError, match=r"No checkpoint at 'nowhere\.pth'"):
        run(sys.executable, 'tools/test.py', CONFIG, 'nowhere.pth', '--work-dir', str(tmp_path))


def test_a_checkpoint_of_another_architecture_is_refused(trained, tmp_path) -> None:
    with pytest.raises(AssertionError, match=r'does not fit the model .* other shapes: decoder'):
        run(
            sys.executable, 'tools/test.py', CONFIG, str(trained / 'iter_6.pth'), '--work-dir',
            str(tmp_path), '--cfg-options', *TINY, 'model.slot_head.slot_dim=24',
        )  # fmt: skip


def test_cached_tokens_train_like_images(tiny_data, tmp_path) -> None:
    cache, weights = str(tmp_path / 'tokens'), str(tmp_path / 'vit.pth')
    torch.save(timm.create_model('vit_tiny_patch16_224', num_classes=0).state_dict(), weights)
    config = 'configs/psa/psa_dino_coco.py'
    model = [
        'model.backbone.model_name=vit_tiny_patch16_224',
        'model.backbone.pretrained=False',
        f'model.backbone.checkpoint={weights}',
        'model.decoder.hidden_channels=16',
    ]
    env = {'MMOCL_DATA': str(tiny_data)}
    run(
        sys.executable, 'tools/cache_features.py', config, '--out', cache, '--cfg-options', *model,
        **env,
    )  # fmt: skip
    log = run(
        sys.executable, 'tools/train.py', config, '--amp', '--work-dir', str(tmp_path),
        '--cfg-options', *model, f'train_dataloader.dataset.token_cache={cache}',
        'train_dataloader.batch_size=2', 'train_dataloader.num_workers=0',
        'train_dataloader.persistent_workers=False', 'train_cfg.max_iters=2',
        'default_hooks.logger.interval=1', 'param_scheduler=None',
        'val_dataloader.num_workers=0', 'val_dataloader.persistent_workers=False', **env,
    )  # fmt: skip
    assert 'Iter(train) [2/2]' in log


def test_the_example_project_runs(tmp_path) -> None:
    log = run(
        sys.executable, 'tools/train.py', 'projects/example_project/soft_kmeans_sprites.py',
        '--work-dir', str(tmp_path), '--cfg-options', *TINY, 'train_cfg.max_iters=3',
        'train_cfg.val_interval=3',
    )  # fmt: skip
    assert 'Iter(train) [3/3]' in log


def test_the_demo_scores_before_and_after(tmp_path) -> None:
    run(
        sys.executable, 'tools/demo.py', '--work-dir', str(tmp_path), '--cfg-options', *TINY,
        'train_cfg.max_iters=3', 'train_cfg.val_interval=3',
    )  # fmt: skip
    metrics = json.loads((tmp_path / 'metrics.json').read_text())
    assert metrics['steps'] == 3
    assert metrics['ocl_fg_ari'] != metrics['untrained_ocl_fg_ari']
    assert metrics['protocol'] == 'square128'
    assert metrics['headline'] == 'ocl_fg_ari'
    assert metrics['hardware'].endswith(', 1 thread') or torch.cuda.is_available()
    assert (
        f'OMP_NUM_THREADS=1 python tools/demo.py --work-dir w --cfg-options {TINY[0]}'
        in (metrics['command'])
    )
    # What writes tables takes it as it is.
    entry = entry_of([metrics])
    assert entry['Metadata']['Protocol'] == 'square128 v1'
    assert entry['Results'][0]['Metrics']['fg_ari'] == round(metrics['ocl_fg_ari'], 3)
    assert metrics['data']['type'] == 'ColoredSprites'
    with Image.open(tmp_path / 'masks.png') as picture:
        assert picture.size == (5 * 134 + 10, 6 * 134 + 31)  # with margins and titles


def test_baselines_take_the_masks_metric_of_several(tiny_data, tmp_path) -> None:
    log = run(
        sys.executable, 'tools/score_baselines.py', 'configs/boqsa/boqsa_ecssd_small.py',
        '--out-dir', str(tmp_path), MMOCL_DATA=str(tiny_data),
    )  # fmt: skip
    assert '"ocl/mbo_i"' in log
    assert len(json.loads((tmp_path / 'blocks.json').read_text())['images']) == 4
    discovery = {'type': 'mmocl.ObjectDiscoveryMetric', 'protocol': 'spot320'}
    others = [{'type': 'SlotCovarianceMetric'}, {'type': 'SetPredictionMetric'}]
    assert discovery_of(discovery) == discovery_of([*others, discovery]) == discovery
    wanted = r"one, got \['SlotCovarianceMetric', 'SetPredictionMetric'\]"
    with pytest.raises(ValueError, match=wanted):
        discovery_of(others)
    with pytest.raises(ValueError, match=r"got \['SetPredictionMetric'\]"):
        discovery_of(others[1])


def test_baselines_and_comparison(tiny_data, tmp_path) -> None:
    options = [
        'model.backbone.model_name=vit_tiny_patch16_224', 'model.backbone.pretrained=False',
        'model.decoder.hidden_channels=16',
    ]  # fmt: skip
    run(
        sys.executable, 'tools/score_baselines.py', 'configs/psa/psa_dino_coco.py', '--num-slots',
        '3', '--out-dir', str(tmp_path), '--cfg-options', *options, MMOCL_DATA=str(tiny_data),
    )  # fmt: skip
    records = [str(tmp_path / f'{name}.json') for name in ('kmeans', 'blocks')]
    log = run(
        sys.executable, 'tools/compare_records.py', '--a', records[0], '--b', records[1],
        '--metrics', 'mbo_i',
    )  # fmt: skip
    means = [
        sum(image['mbo_i'] for image in json.loads(Path(path).read_text())['images']) / 4
        for path in records
    ]
    assert f'A-B {means[0] - means[1]:+.4f}' in log
    assert '4 images' in log
    other = json.loads(Path(records[1]).read_text()) | {'protocol': 'videosaur224'}
    Path(records[1]).write_text(json.dumps(other))
    with pytest.raises(AssertionError, match='different protocols'):
        run(sys.executable, 'tools/compare_records.py', '--a', records[0], '--b', records[1])


def test_compile_flag_adds_the_hook_to_those_of_the_config(monkeypatch) -> None:
    found = []
    monkeypatch.setattr(train_tool.Runner, 'from_cfg', lambda cfg: found.append(cfg) or Mock())
    monkeypatch.setattr(sys, 'argv', ['train.py', CONFIG, '--compile'])
    train_tool.main()
    assert [hook['type'] for hook in found[0].custom_hooks][-2:] == [
        'StrictCheckpointHook',
        'mmocl.CompileHook',
    ]
