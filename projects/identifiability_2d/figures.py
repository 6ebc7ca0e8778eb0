from pathlib import Path

import matplotlib

matplotlib.use('Agg')
import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import Tensor

from mmocl.apis import AggregatePosterior

from .train import Readout


def posterior_grid(
    readouts: list[Readout], seeds: list[int], labels: Tensor, num_scenes: int, path: Path
) -> None:
    """Draw the aggregate posterior of every run over its encoded points.

    Args:
        readouts: One for every run.
        seeds: Their seeds.
        labels: True cluster (B, N) of every point, its colour.
        num_scenes: The first so many scenes make the posterior.
        path: Where to write the picture.
    """
    columns = min(5, len(readouts))
    rows = -(-len(readouts) // columns)
    size = (2.6 * columns, 2.6 * rows)
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout='constrained')
    for axis in axes.flat[len(readouts) :]:
        axis.set_axis_off()
    for axis, readout, seed in zip(axes.flat, readouts, seeds, strict=False):
        _draw_posterior(axis, readout, labels, num_scenes)
        axis.set_title(f'seed {seed}', fontsize=9)
    figure.suptitle(f'Aggregate posterior of {num_scenes} scenes; points coloured by true cluster')
    figure.savefig(path, dpi=110)
    plt.close(figure)


def score_matrices(matrices: dict[str, np.ndarray], seeds: list[int], path: Path) -> None:
    """Draw score matrices (R, R) side by side, one colour scale."""
    size = (4.6 * len(matrices), 4.6)
    figure, axes = plt.subplots(1, len(matrices), figsize=size, squeeze=False, layout='constrained')
    for axis, (title, matrix) in zip(axes.flat, matrices.items(), strict=True):
        picture = axis.imshow(matrix, vmin=0, vmax=1, cmap='viridis')
        axis.set_xticks(range(len(seeds)), seeds, fontsize=7)
        axis.set_yticks(range(len(seeds)), seeds, fontsize=7)
        axis.set(title=title, xlabel='seed mapped', ylabel='onto seed')
    figure.colorbar(picture, ax=axes, label='SMCC', shrink=0.8)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _draw_posterior(axis: plt.Axes, readout: Readout, labels: Tensor, num_scenes: int) -> None:
    posterior = AggregatePosterior()
    state = readout.output.state
    for start in range(0, num_scenes, 10):
        posterior.add(state.combine(lambda field, start=start: field[start : start + 10]))
    tokens = readout.tokens[:num_scenes].reshape(-1, 2)
    low, high = tokens.min(dim=0).values.double(), tokens.max(dim=0).values.double()
    margin = 0.1 * (high - low)
    # A run may have squeezed its points on to a line, so every axis has its own scale.
    x, y = (torch.linspace(*ends, 100) for ends in zip(low - margin, high + margin, strict=True))
    # Variances may be far smaller than the cloud: double precision.
    grid = torch.cartesian_prod(x, y)
    density = posterior.log_prob(grid).exp().reshape(100, 100).T
    colors = labels[:num_scenes].reshape(-1)
    axis.scatter(*tokens.T, c=colors, s=2, cmap='tab10', vmin=0, vmax=9, alpha=0.4, linewidths=0)
    axis.contour(x, y, density, levels=10, linewidths=0.6, cmap='copper')
    axis.tick_params(labelsize=6)
