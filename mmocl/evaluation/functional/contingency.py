"""The one pass over the pixels that every label-map metric starts from."""

import numpy as np
from jaxtyping import Int64, Integer


def contingency_table(
    true: Integer[np.ndarray, '...'], pred: Integer[np.ndarray, '...'], ignore: int | None = None
) -> tuple[Int64[np.ndarray, 'T P'], Int64[np.ndarray, ' T'], Int64[np.ndarray, ' P']]:
    """Count how many pixels carry every pair of a true and a predicted id.

    Args:
        true: Integer ids of any shape.
        pred: Integer ids of the same shape.
        ignore: Pixels whose true id has this value are left out on both sides (None: keep all).

    Returns:
        Exact counts (T, P) in pixels, the sorted true ids (T,) of the rows and the sorted predicted
        ids (P,) of the columns. Only ids that occur have a row or column.

    Raises:
        ValueError: If the shapes differ.
    """
    if true.shape != pred.shape:
        raise ValueError(f'label maps differ in shape: true {true.shape}, predicted {pred.shape}')
    true, pred = true.ravel(), pred.ravel()
    if ignore is not None:
        kept = true != ignore
        true, pred = true[kept], pred[kept]
    rows, true_ids = _compact(true)
    cols, pred_ids = _compact(pred)
    shape = (len(true_ids), len(pred_ids))
    counts = np.bincount(rows * shape[1] + cols, minlength=shape[0] * shape[1]).reshape(shape)
    # ``_compact`` may leave rows and columns of ids that do not occur.
    used_rows, used_cols = counts.any(axis=1), counts.any(axis=0)
    counts = counts[np.ix_(used_rows, used_cols)].astype(np.int64, copy=False)
    return counts, true_ids[used_rows], pred_ids[used_cols]


def _compact(
    ids: Integer[np.ndarray, ' N'],
) -> tuple[Int64[np.ndarray, ' N'], Int64[np.ndarray, ' I']]:
    """Map ids to small indices: by an offset if their range is small, else by sorting."""
    ids = ids.astype(np.int64, copy=False)
    if not ids.size:
        return ids, ids
    low, high = int(ids.min()), int(ids.max())
    if high - low < 256:
        return ids - low, np.arange(low, high + 1, dtype=np.int64)
    unique, index = np.unique(ids, return_inverse=True)
    return index.astype(np.int64, copy=False), unique
