from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def make_scenes(
    centers: Sequence[tuple[float, float]],
    variance: float,
    points_per_cluster: Sequence[int],
    num_scenes: int,
    seed: int,
) -> tuple[Tensor, Tensor]:
    """Draw scenes of 2-D points from a few distinct clusters each.

    Every scene is standardised by itself, axis by axis, as the paper's notebook does: where the
    clusters lay, and how far apart, is lost.

    Args:
        centers: Cluster centres.
        variance: Variance of every cluster along both axes.
        points_per_cluster: Points of the first, second, ... cluster of a scene.
        num_scenes: Number of scenes B.
        seed: Seed of the draws.

    Returns:
        Points (B, N, 2), cluster after cluster, and the index (B, N) of every point's centre.
    """
    rng = np.random.default_rng(seed)
    num_clusters = len(points_per_cluster)
    order = np.argsort(rng.random((num_scenes, len(centers))), axis=1)
    labels = np.repeat(order[:, :num_clusters], points_per_cluster, axis=1)
    noise = rng.standard_normal((*labels.shape, 2))
    points = np.asarray(centers, dtype=float)[labels] + variance**0.5 * noise
    points -= points.mean(axis=1, keepdims=True)
    points /= points.std(axis=1, keepdims=True)
    return torch.from_numpy(points).float(), torch.from_numpy(labels)
