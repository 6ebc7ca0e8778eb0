"""Scores of one image, and which slot is which object."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Int64
from scipy.optimize import linear_sum_assignment

from mmocl.evaluation.functional import contingency_table, iou_matrix
from mmocl.evaluation.mask_scores import MaskScores
from mmocl.evaluation.protocols import IGNORED, get_protocol
from mmocl.structures import SlotDataSample, soft_masks


@dataclass(frozen=True)
class Match:
    """The slot of a true object, None if it is left over, and their IoU."""

    slot: int | None
    iou: float


@dataclass(frozen=True)
class ImageScores:
    """Label maps as a protocol draws them, and what follows from them.

    In ``truth`` 0 is the background, above 0 are objects, and what is negative is not scored.
    Scores are nan where the image does not count.
    """

    truth: Int64[np.ndarray, 'S1 S2']
    pred: Int64[np.ndarray, 'S1 S2']
    fg_ari: float
    mbo: float
    miou: float
    matches: dict[int, Match]


def image_scores(
    sample: SlotDataSample, source: str, protocol: str | dict[str, Any] = 'square128'
) -> ImageScores:
    """Score an image as ``ObjectDiscoveryMetric`` does, on the part of it that the model saw.

    Args:
        sample: Prediction with true masks.
        source: Masks to score, see ``MASK_SOURCES``.
        protocol: Name of a preset, or a dict of it and of switches to change. Its crop and frame
            are those of the sample; all of the image if that says none.
    """
    shown = {'crop': sample.get('crop', 'squash'), 'frame': sample.get('frame')}
    preset = replace(get_protocol(protocol), **shown)
    objects, void = sample.gt_objects, sample.get('gt_void')
    masks = objects.masks.numpy(force=True)
    labels, crowd = np.ones(len(masks), np.int64), np.zeros(len(masks), bool)
    if 'labels' in objects:
        labels = objects.labels.numpy(force=True)
    if 'crowd' in objects:
        crowd = objects.crowd.numpy(force=True)
    if 'stuff' in objects:
        things = ~objects.stuff.numpy(force=True)
        masks, labels, crowd = masks[things], labels[things], crowd[things]
    truth = preset.ground_truth(
        masks, labels, crowd, None if void is None else void.data.numpy(force=True)[0]
    )
    pred = preset.prediction(soft_masks(sample, source).detach())
    scores = MaskScores(truth, pred, preset)
    return ImageScores(
        truth.instances,
        pred,
        scores.fg_ari().value,
        scores.mbo_i().value,
        scores.miou().value,
        matches(truth.instances, pred),
    )


def matches(truth: Int64[np.ndarray, 'H W'], pred: Int64[np.ndarray, 'H W']) -> dict[int, Match]:
    """Give every true object a slot of its own, so that the sum of their IoU is the greatest.

    Args:
        truth: 0 background, above 0 objects, below 0 left out on both sides.
        pred: Slots.

    Returns:
        Matches by object; pairs that do not overlap are none.
    """
    truth = np.where(truth < 0, IGNORED, truth)
    counts, object_ids, slots = contingency_table(truth, pred, IGNORED)
    iou = iou_matrix(counts)[object_ids > 0]
    found = {int(i): Match(None, 0.0) for i in object_ids[object_ids > 0]}
    names = list(found)
    for row, column in zip(*linear_sum_assignment(iou, maximize=True), strict=True):
        if iou[row, column] > 0:
            found[names[row]] = Match(int(slots[column]), float(iou[row, column]))
    return found
