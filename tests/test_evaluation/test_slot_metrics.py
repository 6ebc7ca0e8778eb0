"""Metrics of slots and of reconstructions, as MMEngine's evaluator calls them."""

import numpy as np
import pytest
import torch
from mmengine.evaluator import Evaluator
from mmengine.structures import InstanceData

from mmocl.evaluation.metrics import ReconstructionErrorMetric, SlotCovarianceMetric
from mmocl.structures import SlotDataSample


def _samples(slots: torch.Tensor, active: torch.Tensor) -> list[SlotDataSample]:
    samples = []
    for i in range(len(slots)):
        sample = SlotDataSample(metainfo={'img_id': i})
        sample.pred_slots = InstanceData(slots=slots[i], active=active[i])
        sample.recon_error = torch.tensor(float(i))
        samples.append(sample)
    return samples


def _evaluate(metric, samples: list[SlotDataSample]) -> dict[str, float]:
    evaluator = Evaluator(metric)
    evaluator.process(samples[:2])
    evaluator.process(samples[2:])
    return evaluator.evaluate(len(samples))


def test_covariance_is_numpys_over_active_slots() -> None:
    slots = torch.randn(5, 4, 3) @ torch.tensor([[1.0, 0.5, 0], [0, 1, 0], [0, 0, 3]])
    active = torch.rand(5, 4) > 0.3
    got = _evaluate(SlotCovarianceMetric(), _samples(slots, active))
    rows = slots[active].numpy().T
    cov, corr = np.cov(rows), np.corrcoef(rows)
    off = ~np.eye(3, dtype=bool)
    assert got['slots/covariance'] == pytest.approx((cov[off] ** 2).sum() / 3, rel=1e-5)
    assert got['slots/correlation'] == pytest.approx(np.sqrt((corr[off] ** 2).mean()), rel=1e-5)
    assert got['slots/std'] == pytest.approx(rows.std(1, ddof=1).mean(), rel=1e-5)


def test_features_that_never_change_have_no_correlation() -> None:
    slots = torch.randn(3, 4, 2)
    slots[..., 1] = 7
    got = _evaluate(SlotCovarianceMetric(), _samples(slots, torch.ones(3, 4, dtype=torch.bool)))
    assert got['slots/correlation'] == pytest.approx(0, abs=1e-9)


def test_reconstruction_errors_are_averaged() -> None:
    samples = _samples(torch.zeros(4, 1, 1), torch.ones(4, 1, dtype=torch.bool))
    assert _evaluate(ReconstructionErrorMetric(), samples) == {'recon/mse': 1.5}


def test_what_is_missing_is_named() -> None:
    empty = [SlotDataSample(metainfo={'img_id': 9})] * 2
    with pytest.raises(ValueError, match="image 9 has no 'pred_slots'"):
        _evaluate(SlotCovarianceMetric(), empty)
    with pytest.raises(ValueError, match="image 9 has no 'recon_error'"):
        _evaluate(ReconstructionErrorMetric(), empty)
    one = _samples(torch.zeros(1, 1, 2), torch.ones(1, 1, dtype=torch.bool))
    with pytest.raises(ValueError, match='at least two slots, got 1'):
        _evaluate(SlotCovarianceMetric(), one)
