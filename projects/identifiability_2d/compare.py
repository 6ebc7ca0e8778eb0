"""Scores of all pairs of runs."""

from collections.abc import Callable
from itertools import combinations

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment

from mmocl.evaluation.identifiability import chance_level, match_by_attention, smcc

from .train import Readout

KINDS = ('responsibilities', 'slots', 'responsibilities_chance', 'slots_chance')


def compare(runs: list[Readout], report: Callable[[int, int], None]) -> dict[str, dict]:
    """SMCC and held-out R2 of all ordered pairs, by kind of matching.

    Entry (i, j) maps the slots of run j onto those of run i. The chance levels shuffle the scenes
    of run j.

    Args:
        runs: Read-outs of the runs on the same scenes.
        report: Called with the number of pairs done and of all.

    Returns:
        For each of ``KINDS``: matrices (R, R) ``smcc`` and ``r2``, 1 on the diagonal.
    """
    scores = {kind: {name: np.eye(len(runs)) for name in ('smcc', 'r2')} for kind in KINDS}
    pairs = list(combinations(range(len(runs)), 2))
    for done, (i, j) in enumerate(pairs, 1):
        for first, second in ((i, j), (j, i)):
            a, b = runs[first], runs[second]
            shared = match_by_attention(a.attn, b.attn)
            results = (
                smcc(a.slots, b.slots, matching=shared),
                smcc(a.slots, b.slots),
                chance_level(a.slots, b.slots, matching=shared),
                chance_level(a.slots, b.slots),
            )
            for kind, result in zip(KINDS, results, strict=True):
                scores[kind]['smcc'][first, second] = result.score
                scores[kind]['r2'][first, second] = result.r2
        report(done, len(pairs))
    return scores


def summarise(smcc_matrix: np.ndarray, r2_matrix: np.ndarray, affine_r2: float) -> dict:
    """Figures over all unordered pairs; a pair's score is the mean of its two directions."""
    upper = np.triu_indices(len(smcc_matrix), k=1)
    score = ((smcc_matrix + smcc_matrix.T) / 2)[upper]
    both = ((r2_matrix + r2_matrix.T) / 2)[upper]
    worst = np.minimum(r2_matrix, r2_matrix.T)[upper]
    return {
        'num_pairs': len(score),
        'smcc_mean': float(score.mean()),
        'smcc_std': float(score.std()),
        'smcc_min': float(score.min()),
        'r2_mean': float(both.mean()),
        'r2_min': float(worst.min()),
        'num_pairs_not_affine': int((worst < affine_r2).sum()),
    }


def as_the_notebook_selects(smcc_matrix: np.ndarray) -> float:
    """Mean over the best five pairs of consecutive runs, each later run mapped onto the earlier."""
    return float(np.sort(np.diagonal(smcc_matrix, offset=1))[-5:].mean())


def cluster_recovery(run: Readout, labels: torch.Tensor) -> dict[str, float]:
    """How well hard responsibilities give the true clusters back.

    Args:
        run: A read-out.
        labels: True cluster (B, N) of every point.

    Returns:
        Share of points in their cluster's slot (best one-to-one choice in every scene), and share
        of scenes in which that is all of them.
    """
    owner = run.attn.argmax(axis=1)
    accuracy = []
    for slots, clusters in zip(owner, labels.numpy(), strict=True):
        _, index = np.unique(clusters, return_inverse=True)
        table = np.zeros((index.max() + 1, run.attn.shape[1]))
        np.add.at(table, (index, slots), 1)
        rows, columns = linear_sum_assignment(table, maximize=True)
        accuracy.append(table[rows, columns].sum() / len(clusters))
    return {
        'points_recovered': float(np.mean(accuracy)),
        'scenes_recovered': float(np.mean(np.array(accuracy) == 1)),
    }
