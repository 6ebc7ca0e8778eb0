"""Scores of label maps: ours against scikit-learn's ARI and a loop over pairs of masks.

Ours are FG-ARI, ARI, mBO_i, mBO_c and mIoU of an image from its two label maps, without the drawing
of masks. The peer computes the same with ``adjusted_rand_score`` on the two sets of pixels and the
IoU of every pair of masks; both must agree to 1e-9 on every image. They run on the CPU.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from benchmarks.measure import Setting, compare
from mmocl.evaluation.mask_scores import MaskScores
from mmocl.evaluation.protocols import TruthMaps, get_protocol
from mmocl.require_module import require_module

NUM_SLOTS, MAX_OBJECTS, NUM_CLASSES = 7, 30, 80
NAMES = ('fg_ari', 'ari', 'mbo_i', 'mbo_c', 'miou')
PROTOCOL = get_protocol('spot320')
# Side of the maps, and how many pairs are scored in one sample.
SIZE, NUM_IMAGES = 320, 50
TINY = (32, 2)


def run(setting: Setting) -> list[dict[str, Any]]:
    """Score the same maps both ways, which have to agree."""
    rng = np.random.default_rng(setting.seed)
    size, num_images = TINY if setting.tiny else (SIZE, NUM_IMAGES)
    scenes = [scene(rng, size) for _ in range(num_images)]
    for truth, pred in scenes:
        got, want = ours(truth, pred), peer(truth, pred)
        if any(abs(got[name] - want[name]) > 1e-9 for name in NAMES):
            raise RuntimeError(f'The scores differ: {got} and {want}.')
    calls = {
        name: partial(_score_all, score, scenes)
        for name, score in (('scikit-learn and a loop', peer), ('ours', ours))
    }
    case = {
        'pixels': f'{size} x {size}',
        'objects': float(np.mean([truth.num_objects for truth, _ in scenes])),
        'images': num_images,
    }
    rows = compare(
        calls, setting, 'scikit-learn and a loop', images=num_images, memory=False, flop=False
    )
    return [case | row for row in rows]


def scene(rng: np.random.Generator, size: int) -> tuple[TruthMaps, np.ndarray]:
    """Ellipses with the sizes of COCO's objects, and slots that are coarse regions.

    COCO has seven objects an image, 41 % of them below 32x32 pixels and 24 % above 96x96, of
    640x480: sides are log-normal with about these quantiles, scaled to 320 pixels and then to
    ``size``.
    """
    num = int(np.clip(rng.geometric(1 / 7.3), 1, MAX_OBJECTS))
    instances = np.zeros((size, size), np.int64)
    classes = np.zeros_like(instances)
    labels = rng.integers(1, NUM_CLASSES + 1, num)
    rows, cols = np.ogrid[:size, :size]
    # Large ones first, so that they do not hide the others.
    sides = np.sort(np.clip(np.exp(rng.normal(3.31, 1.17, num)), 4, 300) * size / SIZE)[::-1]
    for index, side in enumerate(sides, start=1):
        (row, col), aspect = rng.uniform(0, size, 2), np.exp(rng.normal(0, 0.4))
        inside = ((rows - row) * aspect) ** 2 + ((cols - col) / aspect) ** 2 < (side / 2) ** 2
        instances[inside] = index
        classes[inside] = labels[index - 1]
    seeds = rng.uniform(0, size, (NUM_SLOTS, 2))
    distance = (rows - seeds[:, :1, None]) ** 2 + (cols - seeds[:, 1:, None]) ** 2
    pred = distance.argmin(axis=0)
    return TruthMaps(instances, classes, len(np.unique(instances)) - 1), pred


def ours(truth: TruthMaps, pred: np.ndarray) -> dict[str, float]:
    """One table of counts for instances, one for classes."""
    scores = MaskScores(truth, pred, PROTOCOL)
    return {name: scores.of(name).value for name in NAMES}


def peer(truth: TruthMaps, pred: np.ndarray) -> dict[str, float]:
    """scikit-learn, and masks compared pair by pair."""
    metrics = require_module('sklearn.metrics', 'evaluation', 'The benchmark metrics')
    objects = truth.instances > 0
    iou = _pairwise(truth.instances, pred)
    rows, cols = linear_sum_assignment(iou, maximize=True)
    return {
        'fg_ari': metrics.adjusted_rand_score(truth.instances[objects], pred[objects]),
        'ari': metrics.adjusted_rand_score(truth.instances.ravel(), pred.ravel()),
        'mbo_i': iou.max(axis=1).mean(),
        'mbo_c': _pairwise(truth.classes, pred).max(axis=1).mean(),
        'miou': iou[rows, cols].sum() / len(iou),
    }


def _pairwise(true: np.ndarray, pred: np.ndarray) -> np.ndarray:
    masks = [pred == j for j in np.unique(pred)]
    return np.array(
        [
            [np.logical_and(t, p).sum() / np.logical_or(t, p).sum() for p in masks]
            for t in (true == i for i in np.unique(true) if i > 0)
        ]
    )


def _score_all(score: Callable, scenes: list[tuple[TruthMaps, np.ndarray]]) -> None:
    for truth, pred in scenes:
        score(truth, pred)
