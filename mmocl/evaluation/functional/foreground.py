"""How well each predicted segment alone is the foreground."""

import numpy as np
from jaxtyping import Float64, Integer


def foreground_overlap(
    true: Integer[np.ndarray, '...'],
    pred: Integer[np.ndarray, '...'],
    num_slots: int,
    ignore: int | None = -1,
) -> tuple[Float64[np.ndarray, ' K'], Float64[np.ndarray, ' K']]:
    """IoU and Dice score of every slot with the union of all true objects.

    Foreground extraction of BO-QSA, `arXiv:2210.08990 <https://arxiv.org/abs/2210.08990>`_, reports
    the largest of each, chosen independently. Two empty segments agree fully (1.0), as there.

    Args:
        true: True ids: 0 background, above 0 foreground.
        pred: Slot ids of the same shape, from 0.
        num_slots: Number of slots K, those without a pixel included.
        ignore: True id of the pixels that are left out.

    Returns:
        IoU (K,) and Dice score (K,), in [0, 1].

    Raises:
        ValueError: If the shapes differ, or a slot id is not below ``num_slots``.
    """
    if true.shape != pred.shape:
        raise ValueError(f'label maps differ in shape: true {true.shape}, predicted {pred.shape}')
    if pred.size and not 0 <= pred.min() <= pred.max() < num_slots:
        raise ValueError(
            f'slot ids must lie in 0..{num_slots - 1} (num_slots={num_slots}), got '
            f'{pred.min()}..{pred.max()}'
        )
    kept = np.ones(true.shape, dtype=bool) if ignore is None else true != ignore
    foreground = kept & (true > 0)
    sizes = np.bincount(pred[kept], minlength=num_slots)
    both = np.bincount(pred[foreground], minlength=num_slots)
    total = sizes + np.count_nonzero(foreground)
    empty = total == 0
    iou = np.where(empty, 1.0, both / np.maximum(total - both, 1))
    dice = np.where(empty, 1.0, 2 * both / np.maximum(total, 1))
    return iou, dice
