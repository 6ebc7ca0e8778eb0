import numpy as np
import pytest
import torch
from scipy import stats

from mmocl.models.losses import DiscretizedGaussianLoss
from mmocl.models.losses.discretized_gaussian import log_probability
from mmocl.structures import Decoded, Features, ModelOutput, SlotOutput, SlotState, Target

LEVELS = torch.arange(256, dtype=torch.float64) * 2 / 255 - 1


def _output(recon: torch.Tensor, values: torch.Tensor) -> ModelOutput:
    slots = torch.zeros(len(recon), 1, 2)
    state = SlotState(slots)
    head = SlotOutput(slots, torch.ones(len(recon), 1, 4), state, state)
    return ModelOutput(
        Features(torch.zeros(len(recon), 4, 3), (2, 2)), head, Target(values), Decoded(recon)
    )


def _images(batch=2, size=4, dtype=torch.float32) -> torch.Tensor:
    return LEVELS[torch.randint(256, (batch, 3, size, size))].to(dtype)


@pytest.mark.parametrize('log_scale', [-9.0, -5.0, -2.3, 0.0, 3.0])
def test_probabilities_of_all_values_sum_to_one(log_scale) -> None:
    for dtype, atol in ((torch.float64, 1e-10), (torch.float32, 1e-4)):
        mean = torch.randn(20, 1, dtype=torch.float64).to(dtype).expand(-1, 256)
        values = LEVELS.to(dtype).expand(20, -1)
        logs = log_probability(values, mean, torch.full((1,), log_scale, dtype=dtype))
        total = logs.exp().sum(1)
        torch.testing.assert_close(total, torch.ones_like(total), atol=atol, rtol=0)


def _by_scipy(values, recon, log_scale, weight=None) -> float:
    """Direct sum over pixels; ``weight`` of the linear map to the coefficients."""
    total = 0.0
    for x, r in zip(
        np.moveaxis(values, 1, 3).reshape(-1, 3),
        np.moveaxis(recon, 1, 3).reshape(-1, 3),
        strict=True,
    ):
        c = np.zeros(3) if weight is None else np.tanh(weight @ r)
        mean = [
            r[0],
            r[1] + c[0] * (x[0] - r[0]),
            r[2] + c[1] * (x[0] - r[0]) + c[2] * (x[1] - r[1]),
        ]
        for i in range(3):
            normal = stats.norm(mean[i], np.exp(log_scale[i]))
            if x[i] == -1:
                total += np.log(normal.cdf(x[i] + 1 / 255))
            elif x[i] == 1:
                total += np.log(normal.sf(x[i] - 1 / 255))
            elif x[i] > mean[i]:
                # A difference of two numbers close to one would have few digits.
                total += np.log(normal.sf(x[i] - 1 / 255) - normal.sf(x[i] + 1 / 255))
            else:
                total += np.log(normal.cdf(x[i] + 1 / 255) - normal.cdf(x[i] - 1 / 255))
    return -total / values.size


@pytest.mark.parametrize('autoregressive', [False, True])
def test_it_agrees_with_scipy(autoregressive) -> None:
    loss = DiscretizedGaussianLoss(weight=2.0, autoregressive=autoregressive).double()
    loss.log_scale.data = torch.tensor([-1.5, 0.0, -0.7], dtype=torch.float64)
    values = _images(dtype=torch.float64)
    values[0, :, 0, 0], values[0, :, 0, 1] = -1, 1
    recon = torch.randn(2, 3, 4, 4, dtype=torch.float64) * 0.5
    weight = None
    if autoregressive:
        weight = loss.to_coefficients.weight.detach().numpy()[:, :, 0, 0]
    want = 2 * _by_scipy(values.numpy(), recon.numpy(), loss.log_scale.detach().numpy(), weight)
    got = loss(_output(recon, values)).item()
    assert got == pytest.approx(want, rel=1e-9)
    # The unit is nats a dimension: a constant guess of 256 levels costs log 256.
    flat = DiscretizedGaussianLoss(init_log_scale=0.0, autoregressive=False)
    assert 4 < flat(_output(torch.zeros(2, 3, 4, 4), _images())).item() < 6


@pytest.mark.parametrize('log_scale', [-9.0, -4.0, 0.0, 1.0, 12.0])
def test_values_and_gradients_are_precise_in_float32(log_scale) -> None:
    """Also where an image is painted far beside the truth."""
    values = LEVELS.repeat(4, 1)
    mean = torch.randn(4, 256, dtype=torch.float64).mul(1.5)
    results = []
    for dtype in (torch.float64, torch.float32):
        # The same numbers in both types.
        leaves = [mean.float().to(dtype), torch.full((1,), log_scale, dtype=dtype)]
        for leaf in leaves:
            leaf.requires_grad_()
        logs = log_probability(values.float().to(dtype), *leaves)
        logs.sum().backward()
        assert all(x.isfinite().all() for x in (logs, *(leaf.grad for leaf in leaves)))
        results.append([logs.detach().double(), *(leaf.grad.double() for leaf in leaves)])
    if log_scale == 12:
        # A scale of 160,000 times the image: finite is all that is asked.
        return
    for want, got in zip(*results, strict=True):
        scale = want.abs().max().item()
        torch.testing.assert_close(got, want, rtol=1e-2, atol=1e-3 * scale)


def test_likelihood_rises_along_its_gradient() -> None:
    loss = DiscretizedGaussianLoss()
    values = _images()
    recon = torch.nn.Parameter(0.1 * torch.randn(2, 3, 4, 4))
    optimizer = torch.optim.Adam([recon, *loss.parameters()], lr=0.05)
    trace = []
    for _ in range(60):
        value = loss(_output(recon, values))
        optimizer.zero_grad()
        value.backward()
        for parameter in loss.parameters():
            assert parameter.grad.abs().sum() > 0
        optimizer.step()
        trace.append(value.item())
    assert trace[-1] < trace[30] < trace[0] - 0.5
    # Once the means fit, the scale shrinks.
    assert (loss.log_scale < -1).all()


def test_true_channels_help_those_after_them() -> None:
    """An image whose channels are wrong by the same offset is likelier with the chain."""
    loss = DiscretizedGaussianLoss(init_log_scale=-3.0)
    torch.nn.init.zeros_(loss.to_coefficients.weight)
    loss.to_coefficients.bias.data = torch.tensor([4.0, 4.0, -4.0])
    values = torch.full((1, 3, 2, 2), LEVELS[150].item())
    recon = values - 0.4
    torch.testing.assert_close(
        loss.expect(recon, values)[:, 1], recon[:, 1] + 0.4 * torch.tanh(torch.tensor(4.0))
    )
    plain = DiscretizedGaussianLoss(init_log_scale=-3.0, autoregressive=False)
    assert loss(_output(recon, values)) < plain(_output(recon, values))
    # A reconstruction without errors is the mean, whatever the coefficients.
    torch.testing.assert_close(loss.expect(values, values), values)


def test_the_scale_has_a_floor() -> None:
    loss = DiscretizedGaussianLoss(autoregressive=False)
    values = _images()
    loss.log_scale.data.fill_(-9.0)
    want = loss(_output(values * 0.9, values))
    loss.log_scale.data.fill_(-20.0)
    torch.testing.assert_close(loss(_output(values * 0.9, values)), want)


def test_it_is_float32_under_autocast() -> None:
    # A narrow Gaussian feels a rounded coefficient.
    loss = DiscretizedGaussianLoss(init_log_scale=-3.0)
    values, recon = _images(), torch.randn(2, 3, 4, 4).bfloat16()
    with torch.autocast('cpu', torch.bfloat16):
        got = loss(_output(recon, values))
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, loss(_output(recon.float(), values)))


def test_targets_that_are_no_images_are_refused() -> None:
    loss = DiscretizedGaussianLoss()
    for shape in ((2, 1, 4, 4), (2, 16, 12), (2, 4, 4, 4)):
        with pytest.raises(ValueError, match=r'needs images \(B, 3, H, W\) as target'):
            loss(_output(torch.zeros(shape), torch.zeros(shape)))
    values = _images()
    for value in (1.2, -2.0, float('nan')):
        values[1, 2, 3, 1] = value
        with pytest.raises(ValueError, match=r'target in \[-1, 1\]; leave mean and std'):
            loss(_output(torch.zeros_like(values), values))


def test_options_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match='weight of DiscretizedGaussianLoss must not be negative'):
        DiscretizedGaussianLoss(weight=-1.0)
    for value in (-9.0, float('nan')):
        with pytest.raises(ValueError, match=f'must be above -9, .* got {value}'):
            DiscretizedGaussianLoss(init_log_scale=value)
