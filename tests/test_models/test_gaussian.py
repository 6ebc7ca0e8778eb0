"""Densities and variances against a direct (B, K, N, D) form in float64 of the same inputs."""

import math

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmocl.models.layers import (
    diagonal_log_density,
    gaussian,
    variance_floor,
    weighted_variance,
)

PROFILE = settings(
    derandomize=True,
    deadline=None,
    max_examples=40,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def _direct(points, mean, log_var):
    points, mean, log_var = (x.double() for x in (points, mean, log_var))
    distance = (points[:, None] - mean[:, :, None]).square() / log_var.exp()[:, :, None]
    return -0.5 * (distance + log_var[:, :, None] + math.log(2 * math.pi)).sum(-1)


def _draw(where, dim, slots, floor, offset, seed):
    """Unit-variance tokens, and Gaussians that are as hard to tell apart as ``where`` says."""
    torch.manual_seed(seed)
    points = torch.randn(1, 60, dim) + offset
    mean = {
        'tokens': points[:, :slots],
        'close': points[:, :1] + floor**0.5 * torch.randn(1, slots, dim),
        'far': 10 * torch.randn(1, slots, dim) + offset,
        'mirrored': 2 * points.mean(1, keepdim=True) - points[:, :slots],
    }[where]
    narrow = torch.rand(1, slots, dim) < torch.rand(())
    log_var = torch.where(narrow, math.log(floor), 0.0)
    return points, mean, log_var, torch.randn(1, slots).log_softmax(1)


@given(
    where=st.sampled_from(['tokens', 'close', 'far', 'mirrored']),
    dim=st.sampled_from([2, 16, 64, 256]),
    slots=st.integers(2, 16),
    floor=st.sampled_from([1.0, 1e-1, 1e-2, 1e-3, 1e-6]),
    offset=st.sampled_from([0.0, 10.0, -300.0, 1e4]),
    seed=st.integers(0, 10**6),
)
@PROFILE
def test_responsibilities_are_those_of_float64(where, dim, slots, floor, offset, seed) -> None:
    points, mean, log_var, log_weight = _draw(where, dim, slots, floor, offset, seed)
    got = diagonal_log_density(points, mean, log_var, wide=True) + log_weight[:, :, None]
    want = _direct(points, mean, log_var) + log_weight.double()[:, :, None]
    assert (got.softmax(1) - want.softmax(1)).abs().max() < 1e-5
    density = diagonal_log_density(points, mean, log_var)
    assert density.dtype == torch.float32
    torch.testing.assert_close(
        density.double(), _direct(points, mean, log_var), rtol=1e-6, atol=1e-5
    )


def test_float32_alone_does_not_do() -> None:
    """Why the sums are in float64: the direct form in float32 misses 1e-3 at the floor."""
    points, mean, log_var, _ = _draw('tokens', 256, 7, 1e-3, 0.0, 0)
    mean = mean[:, :1] + 1e-4 * torch.randn_like(mean)
    log_var = torch.full_like(log_var, math.log(1e-3))
    offset = points[:, None] - mean[:, :, None]
    short = -0.5 * (offset.square() / log_var.exp()[:, :, None]).sum(-1)
    want = _direct(points, mean, log_var).softmax(1)
    assert (short.softmax(1) - want).abs().max() > 1e-3
    got = diagonal_log_density(points, mean, log_var, wide=True).softmax(1)
    assert (got - want).abs().max() < 1e-5


@pytest.mark.parametrize('dim', [2, 64, 256])
@pytest.mark.parametrize('floor', [1.0, 1e-3, 1e-6])
@pytest.mark.parametrize('where', ['tokens', 'close', 'clusters'])
def test_gradients_of_responsibilities_are_those_of_float64(dim, floor, where) -> None:
    if where == 'clusters':
        _, mean, log_var, _ = _draw('tokens', dim, 7, floor, 10.0, 0)
        points = mean.repeat(1, 9, 1)[:, :60] + floor**0.5 * torch.randn(1, 60, dim)
    else:
        points, mean, log_var, _ = _draw(where, dim, 7, floor, 10.0, 0)
    leaves = [x.clone().requires_grad_() for x in (points, mean, log_var)]
    wide = [x.double().detach().requires_grad_() for x in leaves]
    probe = torch.randn(1, 7, 60, dtype=torch.float64)
    scale = dim**-0.5
    got = (scale * diagonal_log_density(*leaves, wide=True)).softmax(1)
    got = torch.autograd.grad((got * probe).sum(), leaves)
    want = torch.autograd.grad(((scale * _direct(*wide)).softmax(1) * probe).sum(), wide)
    for a, b in zip(got, want, strict=True):
        assert (a.double() - b).abs().max() <= 1e-5 * b.abs().max() + 1e-9


@given(
    spread=st.sampled_from([1.0, 1e-1, 1e-2, 1e-3]),
    offset=st.sampled_from([0.0, 300.0, 1e4]),
    zeros=st.booleans(),
    far=st.booleans(),
    seed=st.integers(0, 10**6),
)
@PROFILE
def test_variance_is_that_of_float64_to_1e_6(spread, offset, zeros, far, seed) -> None:
    """Tight groups among tokens of unit variance, also with blanked tokens that weigh nothing."""
    torch.manual_seed(seed)
    points = torch.randn(2, 50, 8) + offset
    points[:, :20] = spread * torch.randn(2, 20, 8) + offset
    weights = torch.rand(2, 3, 50)
    weights[..., 20:] = 0
    if zeros:
        points[:, 30:] = 0
    weights = weights / weights.sum(2, keepdim=True)
    center = weights @ points + 5 * far
    distance = (points[:, None].double() - center[:, :, None].double()).square()
    want = (weights[..., None].double() * distance).sum(2)
    got = weighted_variance(points, weights, center).double()
    limit = (
        1e-6 * want
        + 1e-14
        * (points.double() - points.double().mean(1, keepdim=True))
        .abs()
        .amax(1, keepdim=True)
        .square()
    )
    assert ((got - want).abs() <= limit).all()


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize(('piece', 'count'), [(6 * 8, 9), (18 * 8, 3), (2 * 18 * 8, 2)])
def test_pieces_change_nothing(piece, count, dtype, monkeypatch) -> None:
    """Parts of an image, whole images, several of them; the last piece is smaller or not."""
    points, mean, log_var = (torch.randn(3, n, 8, dtype=dtype) + 3 for n in (18, 5, 5))
    weights = torch.randn(3, 5, 18, dtype=dtype).softmax(2)
    results = []
    for size in (gaussian.PIECE, piece):
        monkeypatch.setattr(gaussian, 'PIECE', size)
        assert len(gaussian._pieces(points)) == (1 if size > piece else count)
        for function, inputs in (
            (diagonal_log_density, (points, mean, log_var)),
            (weighted_variance, (points, weights, mean)),
        ):
            leaves = [x.clone().requires_grad_() for x in inputs]
            output = function(*leaves)
            probe = torch.randn(output.shape, generator=torch.Generator().manual_seed(1))
            grads = torch.autograd.grad((output * probe).sum(), leaves)
            results.append([output, *grads])
    for got, want in zip(results[2:], results[:2], strict=True):
        bound = 1e-6 if dtype == torch.float32 else 1e-13
        torch.testing.assert_close(got, want, rtol=bound, atol=bound)


@pytest.mark.parametrize('piece', [6, 2**16])
def test_derivatives_are_right_twice(piece, monkeypatch) -> None:
    monkeypatch.setattr(gaussian, 'PIECE', piece)

    def draw(*shape):
        return torch.randn(*shape, dtype=torch.float64, requires_grad=True)

    density = (draw(2, 5, 3), draw(2, 4, 3), draw(2, 4, 3))
    spread = (draw(2, 5, 3), draw(2, 4, 5).softmax(2), draw(2, 4, 3))
    for function, inputs in ((diagonal_log_density, density), (weighted_variance, spread)):
        inputs = tuple(x.detach().requires_grad_() for x in inputs)
        assert torch.autograd.gradcheck(function, inputs)
        assert torch.autograd.gradgradcheck(function, inputs)


@pytest.mark.parametrize('value', [0.0, 1.0, 1e6])
def test_floor_is_positive_for_equal_points(value) -> None:
    floor = variance_floor(torch.full((1, 9, 4), value), None, 1e-3)
    assert 0 < floor.item() <= (1e-6 * value) ** 2 + 1e-37


def test_autocast_changes_nothing() -> None:
    points, mean, log_var, _ = _draw('tokens', 64, 5, 1e-3, 0.0, 0)
    want = diagonal_log_density(points, mean, log_var)
    with torch.autocast('cpu', torch.bfloat16):
        assert torch.equal(diagonal_log_density(points, mean, log_var), want)
