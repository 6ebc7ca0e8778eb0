"""Intersection over union between the segments of two label maps."""

import numpy as np
from jaxtyping import Float64, Integer

from mmocl.evaluation.functional.contingency import contingency_table


def iou_matrix(counts: Integer[np.ndarray, 'T P']) -> Float64[np.ndarray, 'T P']:
    """Intersection over union of every true with every predicted segment.

    Args:
        counts: Pixels of every pair of ids (T, P) over all kept pixels, background row included,
            because a predicted segment's size counts its pixels on the background.

    Returns:
        Values in [0, 1] (T, P); select the rows of the segments to score afterwards.
    """
    union = counts.sum(axis=1, keepdims=True) + counts.sum(axis=0, keepdims=True) - counts
    # A pair of empty segments, which ``contingency_table`` never makes, has overlap 0.
    return counts / np.maximum(union, 1)


def mean_best_overlap(iou: Float64[np.ndarray, 'T P']) -> float:
    """Mean over true segments of the best IoU; a predicted segment may serve several of them.

    Args:
        iou: IoU of the non-empty true segments with the predicted ones (T, P).

    Returns:
        Value in [0, 1]; nan if there is no true segment.
    """
    return float(iou.max(axis=1).mean()) if len(iou) else float('nan')


def mbo(
    true: Integer[np.ndarray, '...'], pred: Integer[np.ndarray, '...'], ignore: int | None = -1
) -> float:
    """Mean best overlap of the true objects (id above 0); the background is not a segment.

    Args:
        true: True ids: 0 background, above 0 objects.
        pred: Predicted ids of the same shape.
        ignore: True id of the pixels that are removed from both sides, the union included.

    Returns:
        Value in [0, 1]; nan if there is no object.
    """
    counts, true_ids, _ = contingency_table(true, pred, ignore)
    return mean_best_overlap(iou_matrix(counts)[true_ids > 0])
