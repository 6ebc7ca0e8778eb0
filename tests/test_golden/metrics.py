"""What the metrics have to reproduce, case by case."""

from collections.abc import Callable

import numpy as np
import torch
from case import Case

from mmocl.evaluation.functional import foreground_overlap, label_map


def foreground_iou_dice(case: Case) -> None:
    """IoU and Dice score of every slot, the largest of each an image, and their means."""
    soft, true = case['in.soft_masks'], case['in.gt_foreground'].numpy()
    per_slot = [
        foreground_overlap(image, label_map(masks, image.shape).numpy(), len(masks))
        for image, masks in zip(true, soft, strict=True)
    ]
    for name, values in zip(('iou', 'dice'), zip(*per_slot, strict=True), strict=True):
        scores = torch.from_numpy(np.stack(values)).to(case.dtype)
        case.compare(f'out.{name}_per_slot', scores)
        case.compare(f'out.{name}.per_image', scores.amax(dim=1))
        case.compare(f'out.{name}.aggregate', scores.amax(dim=1).mean())


METRICS: dict[str, Callable[[Case], None]] = {'metrics_foreground_iou_dice': foreground_iou_dice}
