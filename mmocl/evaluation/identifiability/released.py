"""SMCC and R2 as PSA's released code computes them, for comparison with its tables only."""

import numpy as np
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment

from mmocl.evaluation.identifiability.matching import best_matching, reorder
from mmocl.require_module import require_module

PATHS = ('tensor', 'array')


def released_psa_smcc(
    slots_a: Float[np.ndarray, '...'],
    slots_b: Float[np.ndarray, '...'],
    affine: bool = False,
    path: str = 'tensor',
) -> float:
    """SMCC of PSA's repository (``koriavinash1/PSA``, ``eval/mcc.py``), not of its paper.

    Slots are matched image by image by the distance of raw vectors of both runs, although these
    live in unrelated spaces. Slot by slot: coordinates are standardised; with ``affine`` run a is
    predicted from run b by kernel ridge regression, fitted on the first 80 % of the images; then
    the prediction is correlated with *its own input*, not with run a, on the other 20 %. Absolute
    correlations are assigned one to one and averaged, over the same images.

    Exactly affine runs therefore stay below 1 (0.46 in our golden case), and independent ones reach
    more (0.68 there): use :func:`smcc` for anything but table 2 of the paper. Which of the values
    fills that table is not stated. Its scripts compare run i with run i + 1 only, and average the
    best five of 14 such pairs in the 2-D experiment.

    Args:
        slots_a: Slots (M, K, D) of one run.
        slots_b: Slots (M, K, D) of the other.
        affine: Whether the regression stands in between (``SMCC_Affine`` of the logs).
        path: ``'tensor'``, or ``'array'``, where numpy arrays take another way in the source and
            the matching is computed but not used.

    Returns:
        The score; nan if a coordinate of a slot does not vary, where the source stops.

    Raises:
        ValueError: If shapes are wrong, values are not finite, there are fewer than 10 images or
            the path is unknown.
        ImportError: If scikit-learn is not installed.
    """
    _check(slots_a, slots_b)
    if path not in PATHS:
        raise ValueError(f'path must be one of {PATHS}, got {path!r}')
    if path == 'tensor':
        slots_b = _matched_raw(slots_a, slots_b)
    scores = []
    for a, b in _standardised_slots(slots_a, slots_b):
        if affine:
            a, b = _predicted(a, b), _held_out(b)
        dim = a.shape[1]
        with np.errstate(invalid='ignore', divide='ignore'):
            correlation = np.abs(np.corrcoef(a, b, rowvar=False)[:dim, dim:])
        if np.isnan(correlation).any():
            return float('nan')
        rows, columns = linear_sum_assignment(correlation, maximize=True)
        scores.append(correlation[rows, columns].mean())
    return float(np.mean(scores))


def released_psa_r2(slots_a: Float[np.ndarray, '...'], slots_b: Float[np.ndarray, '...']) -> float:
    """Slot-averaged R2 of PSA's repository (``eval/metrics.py``).

    Slots are matched as in the tensor path of :func:`released_psa_smcc`. Slot by slot, kernel
    ridge regression predicts run a from run b, and scikit-learn's R2 is taken on the last 20 %
    of the images. The matching of raw vectors decides the value; that of exactly affine runs is
    about 0.

    Args:
        slots_a: Slots (M, K, D) of one run.
        slots_b: Slots (M, K, D) of the other.

    Raises:
        ValueError: If shapes are wrong, values are not finite or there are fewer than 10 images.
        ImportError: If scikit-learn is not installed.
    """
    _check(slots_a, slots_b)
    metrics = require_module('sklearn.metrics', 'evaluation')
    pairs = _standardised_slots(slots_a, _matched_raw(slots_a, slots_b))
    return float(np.mean([metrics.r2_score(_held_out(a), _predicted(a, b)) for a, b in pairs]))


def _check(slots_a: Float[np.ndarray, '...'], slots_b: Float[np.ndarray, '...']) -> None:
    if slots_a.ndim != 3 or slots_a.shape != slots_b.shape or len(slots_a) < 10:
        raise ValueError(
            'slots of both runs must have one shape (M, K, D) with at least 10 images, got '
            f'{slots_a.shape} and {slots_b.shape}'
        )
    if not (np.isfinite(slots_a).all() and np.isfinite(slots_b).all()):
        raise ValueError('slots hold values that are not finite')


def _matched_raw(
    a: Float[np.ndarray, 'M K D'], b: Float[np.ndarray, 'M K D']
) -> Float[np.ndarray, 'M K D']:
    a64, b64 = a.astype(np.float64), b.astype(np.float64)
    distance = [np.linalg.norm(x[:, None] - y, axis=2) for x, y in zip(a64, b64, strict=True)]
    return reorder(b, best_matching(np.array(distance), np.ones(a.shape[:2], bool)))


def _standardised_slots(
    a: Float[np.ndarray, 'M K D'], b: Float[np.ndarray, 'M K D']
) -> list[tuple[Float[np.ndarray, 'M D'], Float[np.ndarray, 'M D']]]:
    preprocessing = require_module('sklearn.preprocessing', 'evaluation')
    scaled = [
        [preprocessing.StandardScaler().fit_transform(x) for x in slots.transpose(1, 0, 2)]
        for slots in (a.astype(np.float64), b.astype(np.float64))
    ]
    return list(zip(*scaled, strict=True))


def _held_out(rows: Float[np.ndarray, 'M D']) -> Float[np.ndarray, 'S D']:
    return rows[int(0.8 * len(rows)) :]


def _predicted(
    a: Float[np.ndarray, 'M D'], b: Float[np.ndarray, 'M D']
) -> Float[np.ndarray, 'S D']:
    """Run a from run b on the last images."""
    kernel_ridge = require_module('sklearn.kernel_ridge', 'evaluation')
    num = int(0.8 * len(a))
    model = kernel_ridge.KernelRidge(kernel='rbf', alpha=1.0, gamma=None)
    return model.fit(b[:num], a[:num]).predict(b[num:])
