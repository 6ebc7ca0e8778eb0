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
from torch.nn import functional

#: Numbers of a piece of points: 1 MB in float64, enough for several threads to share.
PIECE = 2**17


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
        num_slots = mean.shape[1]
        # Products of four rows at a time are the fastest on a CPU: seven take longer than eight.
        extra = -num_slots % 4 if points.device.type == 'cpu' else 0
        mean, log_var = (functional.pad(x, (0, 0, 0, extra)) for x in (mean, log_var))
        shift, mean, log_var = _widened(points, mean, log_var)
        precision = (-log_var).exp()
        scaled = precision * mean
        constant = (scaled * mean + log_var + math.log(2 * math.pi)).sum(dim=2, keepdim=True)
        density = (-0.5 * constant).repeat(1, 1, points.shape[1])
        for images, tokens in _pieces(points):
            piece = _moved(points[images, tokens], shift[images])
            result = density[images, :, tokens]
            result.baddbmm_(scaled[images], piece.mT)
            result.baddbmm_(precision[images], piece.square_().mT, alpha=-0.5)
        return density[:, :num_slots]

    @staticmethod
    @_without_autocast
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
        points, mean_in, log_var_in = ctx.saved_tensors
        shift, mean, log_var = _widened(points, mean_in, log_var_in)
        precision = (-log_var).exp()
        scaled = precision * mean
        first, second = torch.zeros_like(mean), torch.zeros_like(mean)
        grad_points = torch.empty_like(points) if ctx.needs_input_grad[0] else None
        for images, tokens in _pieces(points):
            piece = _moved(points[images, tokens], shift[images])
            part = grad[images, :, tokens].to(piece.dtype)
            first[images].baddbmm_(part, piece)
            second[images].baddbmm_(part, piece.square())
            if grad_points is not None:
                result = piece * (part.mT @ precision[images])
                grad_points[images, tokens] = result.baddbmm_(part.mT, scaled[images], beta=-1)
        total = grad.sum(dim=2, keepdim=True, dtype=mean.dtype)
        second = second - 2 * mean * first + mean.square() * total
        grad_mean = precision * (first - total * mean)
        grad_log_var = 0.5 * (precision * second - total)
        return grad_points, grad_mean.to(mean_in.dtype), grad_log_var.to(log_var_in.dtype)


class _WeightedSquares(torch.autograd.Function):
    """``sum_n w (x - c)^2`` for all rows of weights, coordinate by coordinate."""

    @staticmethod
    def forward(ctx: Any, points: Tensor, weights: Tensor, center: Tensor) -> Tensor:
        ctx.save_for_backward(points, weights, center)
        shift, center = _widened(points, center)
        first, second = torch.zeros_like(center), torch.zeros_like(center)
        for images, tokens in _pieces(points):
            piece = _moved(points[images, tokens], shift[images])
            part = weights[images, :, tokens].to(piece.dtype)
            first[images].baddbmm_(part, piece)
            second[images].baddbmm_(part, piece.square_())
        total = weights.sum(dim=2, keepdim=True, dtype=center.dtype)
        return second - 2 * center * first + center.square() * total

    @staticmethod
    @_without_autocast
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
        points, weights, center_in = ctx.saved_tensors
        shift, center = _widened(points, center_in)
        grad = grad.to(center.dtype)
        scaled = grad * center
        constant = (scaled * center).sum(dim=2, keepdim=True)
        first = torch.zeros_like(center)
        grad_weights = torch.empty_like(weights)
        grad_points = torch.empty_like(points) if ctx.needs_input_grad[0] else None
        for images, tokens in _pieces(points):
            piece = _moved(points[images, tokens], shift[images])
            part = weights[images, :, tokens].to(piece.dtype)
            first[images].baddbmm_(part, piece)
            result = torch.baddbmm(constant[images], scaled[images], piece.mT, alpha=-2)
            result.baddbmm_(grad[images], piece.square().mT)
            grad_weights[images, :, tokens] = result
            if grad_points is not None:
                result = piece * (part.mT @ grad[images])
                result.baddbmm_(part.mT, scaled[images], beta=2, alpha=-2)
                grad_points[images, tokens] = result
        total = weights.sum(dim=2, keepdim=True, dtype=center.dtype)
        grad_center = 2 * (scaled * total - grad * first)
        return grad_points, grad_weights, grad_center.to(center_in.dtype)


def _widened(points: Tensor, center: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
    """Return the mean point, by which both functions may move everything, and wide copies.

    The first of these is moved already.
    """
    shift = points.mean(dim=1, keepdim=True)
    # An MPS device has no float64.
    dtype = torch.float32 if points.device.type == 'mps' else torch.float64
    shift = shift.to(dtype)
    return shift, center.to(dtype) - shift, *(x.to(dtype) for x in others)


def _moved(points: Tensor, shift: Tensor) -> Tensor:
    """Copy points to the type of the shift, and move them by it."""
    return points.to(shift.dtype, copy=True).sub_(shift)


def _pieces(points: Tensor) -> list[tuple[slice, slice]]:
    """Cut images and tokens so that a float64 copy of a piece fits into the cache of a CPU.

    Other devices, and compilers, get all at once.
    """
    batch, num_tokens, width = points.shape
    if points.device.type != 'cpu' or torch.compiler.is_compiling():
        return [(slice(None), slice(None))]
    num_rows = max(1, PIECE // width)
    num_images = max(1, num_rows // max(1, num_tokens))
    return [
        (slice(image, image + num_images), slice(token, token + num_rows))
        for image in range(0, batch, num_images)
        for token in range(0, num_tokens, num_rows)
    ]


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
