"""The 2-D experiment: its data, its model, its figures, and a short run of the whole."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

from mmocl.evaluation.identifiability import smcc
from mmocl.structures import SlotOutput, SlotState

ROOT = Path(__file__).resolve().parents[2]
PROJECT = ROOT / 'projects/identifiability_2d'
sys.path.insert(0, str(ROOT))
from projects.identifiability_2d.compare import (  # noqa: E402
    as_the_notebook_selects,
    cluster_recovery,
    summarise,
)
from projects.identifiability_2d.data import make_scenes  # noqa: E402
from projects.identifiability_2d.model import PointSlots  # noqa: E402
from projects.identifiability_2d.train import Readout, read_out, train  # noqa: E402


@pytest.fixture(scope='module')
def cfg():
    return Config.fromfile(PROJECT / 'config.py')


@pytest.fixture(scope='module')
def scenes(cfg):
    return make_scenes(**{**cfg.data, 'num_scenes': 60})


def test_scenes(cfg, scenes):
    points, labels = scenes
    assert points.shape == (60, 128, 2)
    torch.testing.assert_close(points.mean(dim=1), torch.zeros(60, 2), atol=1e-5, rtol=0)
    torch.testing.assert_close(points.std(dim=1, correction=0), torch.ones(60, 2))
    assert [len(set(row.tolist())) for row in labels] == [3] * 60
    assert labels.unique(return_counts=True)[1].sum() == 60 * 128
    assert labels.unique().tolist() == [0, 1, 2, 3, 4]
    assert labels[0].unique_consecutive(return_counts=True)[1].tolist() == [42, 42, 44]
    again, _ = make_scenes(**{**cfg.data, 'num_scenes': 60})
    other, _ = make_scenes(**{**cfg.data, 'num_scenes': 60, 'seed': 1})
    assert torch.equal(points, again)
    assert not torch.equal(points, other)


def test_clusters_have_the_variance_of_the_config(cfg):
    """Centres far apart on one axis only: the other one keeps the clusters' own shape."""
    points, labels = make_scenes([(100, 0), (-100, 0)], 4.0, [64, 64], 200, 0)
    near = points[:, :, 0].reshape(200, 2, 64)
    # Scaled by the root of 100^2 + 4, so that clusters are 2 / 100 wide.
    assert near.std(dim=2).mean() == pytest.approx(0.02, rel=0.02)
    assert (points[:, :, 0].sign() == 1 - 2 * labels).all()


def test_samples_are_scaled_by_the_standard_deviation(cfg):
    model = PointSlots(cfg.slot_head)
    with torch.no_grad():
        model.decoder.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]))
        model.decoder.bias.zero_()
        variance = torch.tensor([4.0, 0.25])
        state = SlotState(
            torch.zeros(20, 3, 2), variance.log().expand(20, 3, 2), torch.zeros(20, 3)
        )
        got = model.decode(state, 2000)
    # Equal alphas average three independent samples.
    assert got.shape == (20, 2000, 2)
    want = variance.sqrt() / math.sqrt(3)
    torch.testing.assert_close(got.std(dim=(0, 1)), want, atol=0, rtol=0.02)


def test_weights_scale_the_samples_and_alphas_sum_to_one(cfg):
    model = PointSlots(cfg.slot_head)
    with torch.no_grad():
        model.decoder.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]))
        model.decoder.bias.copy_(torch.tensor([5.0, 0.0, 0.0]))
        mean = torch.tensor([[[3.0, 0.0], [0.0, 0.0], [0.0, 6.0]]])
        weight = torch.tensor([[0.5, 0.2, 0.3]])
        state = SlotState(mean, torch.full((1, 3, 2), -30.0), weight.log())
        got = model.decode(state, 4)
    want = torch.tensor([5 + 3 * 0.5 / 3, 6 * 0.3 / 3]).expand(1, 4, 2)
    torch.testing.assert_close(got, want, atol=1e-4, rtol=0)


def test_first_slots_start_from_a_standard_normal(cfg):
    model = PointSlots(cfg.slot_head)
    assert all((p == 0).all() for p in model.slot_head.initializer.parameters())
    assert model.slot_head.num_iters == 5


def test_training_moves_all_weights_and_repeats(cfg, scenes):
    points, _ = scenes
    runs = [train(points, cfg.slot_head, cfg.optimizer, steps, 0) for steps in (3, 3, 0)]
    states = [run.model.state_dict() for run in runs]
    assert [len(run.losses) for run in runs] == [3, 3, 0]
    assert runs[0].losses == runs[1].losses
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name])
        assert not torch.equal(value, states[2][name]), name
    slots = [read_out(runs[2], points, 5).slots for _ in range(2)]
    assert np.array_equal(*slots)
    other = read_out(train(points, cfg.slot_head, cfg.optimizer, 0, 1), points, 5)
    assert not np.allclose(slots[0], other.slots)


def test_linear_encoders_are_affine_whatever_their_weights(cfg, scenes):
    """What the README says: with the true clusters, untrained runs agree exactly."""
    points, _ = scenes
    means = []
    for seed in (0, 1):
        run = train(points, cfg.slot_head, cfg.optimizer, 0, seed)
        tokens = read_out(run, points, 1).tokens.split([42, 42, 44], dim=1)
        means.append(torch.stack([part.mean(dim=1) for part in tokens], dim=1).numpy())
    assert smcc(*means).score == pytest.approx(1, abs=1e-4)


def readout(owner):
    attn = torch.nn.functional.one_hot(owner, 3).permute(0, 2, 1).float()
    state = SlotState(torch.zeros(len(owner), 3, 2))
    return Readout(torch.zeros(*owner.shape, 2), SlotOutput(state.mean, attn, state, state))


def test_cluster_recovery(scenes):
    _, labels = scenes
    truth = torch.arange(3).repeat_interleave(torch.tensor([42, 42, 44])).expand(60, 128)
    assert cluster_recovery(readout((truth + 1) % 3), labels) == {
        'points_recovered': 1.0,
        'scenes_recovered': 1.0,
    }
    merged = truth.clamp(max=1).clone()
    merged[:30] = truth[:30]
    got = cluster_recovery(readout(merged), labels)
    assert got['points_recovered'] == pytest.approx((1 + 86 / 128) / 2)
    assert got['scenes_recovered'] == 0.5


def test_summary_keeps_all_pairs():
    score = np.array([[1, 0.9, 0.2], [0.7, 1, 0.4], [0.4, 0.6, 1]])
    r2 = np.array([[1, 0.95, 0.95], [0.95, 1, 0.95], [0.1, 0.95, 1]])
    got = summarise(score, r2, affine_r2=0.9)
    assert got['num_pairs'] == 3
    assert got['smcc_mean'] == pytest.approx((0.8 + 0.3 + 0.5) / 3)
    assert got['smcc_std'] == pytest.approx(np.std([0.8, 0.3, 0.5]))
    assert got['smcc_min'] == pytest.approx(0.3)
    assert got['r2_mean'] == pytest.approx((0.95 + 0.525 + 0.95) / 3)
    assert got['r2_min'] == pytest.approx(0.1)
    assert got['num_pairs_not_affine'] == 1
    chain = np.diag([0.1, 0.9, 0.8, 0.7, 0.6, 0.5], k=1)
    assert as_the_notebook_selects(chain) == pytest.approx(0.7)


def test_a_short_run(tmp_path):
    config = tmp_path / 'small.py'
    config.write_text(
        f'_base_ = [{str(PROJECT / "config.py")!r}]\n'
        'data = dict(num_scenes=60)\nreadout_iters = (5, 2)\nnum_posterior_scenes = 25\n'
    )
    out = tmp_path / 'out'
    result = subprocess.run(
        [
            sys.executable, '-m', 'projects.identifiability_2d.run', '--config', str(config),
            '--seeds', '2', '--steps', '2', '--out-dir', str(out),
        ],
        cwd=ROOT, env={**os.environ, 'OMP_NUM_THREADS': '1'}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    assert 'trained: run 2/2, 0 s left' in result.stdout
    assert '0.93 +- 0.04' in result.stdout
    results = json.loads((out / 'results.json').read_text())
    assert results['seeds'] == [0, 1]
    assert results['steps'] == 2
    assert results['loss_of_constant_zero'] == pytest.approx(1, abs=1e-4)
    assert [len(run['losses']) for run in results['runs']['trained']] == [2, 2]
    assert [len(run['losses']) for run in results['runs']['untrained']] == [0, 0]
    for weights in ('trained', 'untrained'):
        assert list(results['scores'][weights]) == ['5', '2']
        for kinds in results['scores'][weights].values():
            assert set(kinds) == {
                'responsibilities', 'slots', 'responsibilities_chance', 'slots_chance'
            }  # fmt: skip
            for row in kinds.values():
                forth, back = row['smcc'][0][1], row['smcc'][1][0]
                assert row['num_pairs'] == 1
                assert row['smcc_mean'] == pytest.approx((forth + back) / 2, abs=1e-4)
                assert 0 <= row['num_pairs_not_affine'] <= 1
    assert results['scores']['trained']['5'] != results['scores']['untrained']['5']
    for name in ('smcc', 'aggregate_posteriors_trained', 'aggregate_posteriors_untrained'):
        with Image.open(out / f'{name}.png') as picture:
            assert len(np.unique(np.asarray(picture.convert('L')))) > 20
