import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def diagonal_log_density(
    points: Float[Tensor, 'B N D'],
    mean: Float[Tensor, 'B K D'],
    log_var: Float[Tensor, 'B K D'],
) -> Float[Tensor, 'B K N']:
    """Log-density of every point under every diagonal Gaussian, up to no constant.

    The quadratic form is expanded into three matrix products, so that no (B, K, N, D) tensor is
    made. The expansion cancels where points lie far from the origin compared with the variance,
    hence points and means are first moved by the mean point.
    """
    shift = points.mean(dim=1, keepdim=True)
    points, mean = points - shift, mean - shift
    precision = (-log_var).exp()
    scaled = mean * precision
    mahalanobis = (
        precision @ points.square().transpose(1, 2)
        - 2 * scaled @ points.transpose(1, 2)
        + (scaled * mean).sum(dim=2, keepdim=True)
    )
    constant = log_var.sum(dim=2, keepdim=True) + mean.shape[2] * math.log(2 * math.pi)
    return -0.5 * (mahalanobis + constant)


def weighted_variance(
    points: Float[Tensor, 'B N D'],
    weights: Float[Tensor, 'B K N'],
    center: Float[Tensor, 'B K D'],
) -> Float[Tensor, 'B K D']:
    """Mean squared distance from ``center``, coordinate by coordinate, over weighted points.

    ``weights`` sum to one over the points. Two matrix products on shifted points, as above.
    """
    shift = points.mean(dim=1, keepdim=True)
    points, center = points - shift, center - shift
    second = weights @ points.square()
    first = weights @ points
    return (second - 2 * center * first + center.square()).clamp_min(0)


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
    """``min_var`` times the mean variance of an image's points, or the smallest positive number."""
    spread = token_variance(points, mask).mean(dim=2, keepdim=True)
    return min_var * spread + torch.finfo(points.dtype).tiny
