"""Diagonal Gaussians over tokens: densities, variances, and a floor for the latter.

Quadratic forms are expanded into matrix products, so that no (B, K, N, D) tensor is made. The
expansion cancels where variances are small compared with the spread of the points, and log
densities of many dimensions reach sizes where float32 counts in steps of 0.01 and more: in float32
neither this form nor the direct one gives responsibilities to 1e-3 where D is 64 or more and
variances are 1e-3 of the spread (``docs/performance.md``). So the sums are in float64, which TF32
and autocast do not touch either. Derivatives cancel alike and are in float64 too; they are written
out, as autograd would keep float64 copies of all points for every step. A GPU that is slow in
float64 pays for this; it was measured on a CPU only.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def diagonal_log_density(
    points: Float[Tensor, 'B N D'],
    mean: Float[Tensor, 'B K D'],
    log_var: Float[Tensor, 'B K D'],
    wide: bool = False,
) -> Float[Tensor, 'B K N']:
    """Log-density of every point under every diagonal Gaussian, up to no constant.

    The sums are in float64, the result in the type of the points, or with ``wide`` in that of the
    sums: responsibilities come from differences of densities that may be large.
    """
    density = _LogDensity.apply(points, mean, log_var)
    return density if wide else density.to(points.dtype)


def weighted_variance(
    points: Float[Tensor, 'B N D'],
    weights: Float[Tensor, 'B K N'],
    center: Float[Tensor, 'B K D'],
) -> Float[Tensor, 'B K D']:
    """Mean squared distance from ``center``, coordinate by coordinate, over weighted points.

    ``weights`` sum to one over the points. In the type of the points, with a relative error of at
    most 1e-6 (float32) where the result is above 1e-8 times the points' squared spread.
    """
    return _WeightedSquares.apply(points, weights, center).to(points.dtype).clamp_min(0)


def _without_autocast(backward: Callable) -> Callable:
    """Keep a backward pass in its own types where it is run inside of ``torch.autocast``."""

    @functools.wraps(backward)
    def run(ctx: Any, grad: Tensor) -> Any:
        with torch.autocast(grad.device.type, enabled=False):
            return backward(ctx, grad)

    return run


class _LogDensity(torch.autograd.Function):
    """``-(sum_d (x - m)^2 / v + log v + log 2 pi) / 2`` for all pairs of points and Gaussians."""

    @staticmethod
    def forward(ctx: Any, points: Tensor, mean: Tensor, log_var: Tensor) -> Tensor:
        ctx.save_for_backward(points, mean, log_var)
        points, mean = _shifted(points, mean, _wide(points))
        log_var = log_var.to(points.dtype)
        precision = (-log_var).exp()
        scaled = precision * mean
        constant = (scaled * mean + log_var + math.log(2 * math.pi)).sum(dim=2, keepdim=True)
        density = torch.baddbmm(constant, scaled, points.transpose(1, 2), beta=-0.5)
        return density.baddbmm_(precision, points.square_().transpose(1, 2), alpha=-0.5)

    @staticmethod
    @_without_autocast
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
        points_in, mean_in, log_var_in = ctx.saved_tensors
        points, mean = _shifted(points_in, mean_in, _wide(points_in))
        grad = grad.to(points.dtype)
        precision = (-log_var_in.to(points.dtype)).exp()
        total, first = grad.sum(dim=2, keepdim=True), grad @ points
        second = grad @ points.square() - 2 * mean * first + mean.square() * total
        grad_points = None
        if ctx.needs_input_grad[0]:
            grad_points = points * (grad.transpose(1, 2) @ precision)
            grad_points = grad_points.baddbmm_(grad.transpose(1, 2), precision * mean, beta=-1)
            grad_points = grad_points.to(points_in.dtype)
        grad_mean = precision * (first - total * mean)
        grad_log_var = 0.5 * (precision * second - total)
        return grad_points, grad_mean.to(mean_in.dtype), grad_log_var.to(log_var_in.dtype)


class _WeightedSquares(torch.autograd.Function):
    """``sum_n w (x - c)^2`` for all rows of weights, coordinate by coordinate."""

    @staticmethod
    def forward(ctx: Any, points: Tensor, weights: Tensor, center: Tensor) -> Tensor:
        ctx.save_for_backward(points, weights, center)
        points, center = _shifted(points, center, _wide(points))
        weights = weights.to(points.dtype)
        first, total = weights @ points, weights.sum(dim=2, keepdim=True)
        return weights @ points.square_() - 2 * center * first + center.square() * total

    @staticmethod
    @_without_autocast
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
        points_in, weights_in, center_in = ctx.saved_tensors
        points, center = _shifted(points_in, center_in, _wide(points_in))
        weights, grad = weights_in.to(points.dtype), grad.to(points.dtype)
        scaled = grad * center
        constant = (scaled * center).sum(dim=2, keepdim=True)
        grad_weights = torch.baddbmm(constant, scaled, points.transpose(1, 2), alpha=-2)
        grad_weights = grad_weights.baddbmm_(grad, points.square().transpose(1, 2))
        grad_points = None
        if ctx.needs_input_grad[0]:
            grad_points = points * (weights.transpose(1, 2) @ grad)
            grad_points = grad_points.baddbmm_(weights.transpose(1, 2), scaled, beta=2, alpha=-2)
            grad_points = grad_points.to(points_in.dtype)
        grad_center = 2 * (scaled * weights.sum(dim=2, keepdim=True) - grad * (weights @ points))
        return grad_points, grad_weights.to(weights_in.dtype), grad_center.to(center_in.dtype)


def _shifted(points: Tensor, centers: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Copy both to a type and move them by the mean point, as both functions ignore an offset."""
    shift = points.mean(dim=1, keepdim=True)
    return points.to(dtype, copy=True).sub_(shift), centers.to(dtype) - shift


def _wide(tensor: Tensor) -> torch.dtype:
    """Return float64, or float32 where the device has none."""
    return torch.float32 if tensor.device.type == 'mps' else torch.float64


def token_variance(
    points: Float[Tensor, 'B N D'], mask: Bool[Tensor, 'B N'] | None
) -> Float[Tensor, 'B 1 D']:
    """Variance of the points of every image, coordinate by coordinate, masked ones left out."""
    if mask is None:
        return points.var(dim=1, keepdim=True, correction=0)
    weights = mask[:, None].to(points.dtype)
    weights = weights / weights.sum(dim=2, keepdim=True)
    return weighted_variance(points, weights, weights @ points)


def variance_floor(
    points: Float[Tensor, 'B N D'], mask: Bool[Tensor, 'B N'] | None, min_var: float
) -> Float[Tensor, 'B 1 1']:
    """``min_var`` times the mean variance of an image's points, or the rounding error of a point.

    The latter matters where all points are equal: smaller variances have infinite gradients.
    """
    info = torch.finfo(points.dtype)
    spread = token_variance(points, mask).mean(dim=2, keepdim=True)
    size = torch.linalg.vector_norm(points.detach(), torch.inf, dim=(1, 2), keepdim=True)
    return min_var * spread + (info.eps * size).square() + info.tiny
