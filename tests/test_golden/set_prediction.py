"""What the metric of set prediction has to reproduce."""

from collections.abc import Callable

import numpy as np
import torch
from case import Case

from mmocl.evaluation.functional import SetMatch, match_set, property_ap
from mmocl.structures import ObjectProperty

INFINITE = -1


def layout(case: Case) -> list[ObjectProperty]:
    """The properties that the case names with their sizes, coordinates first and the flag last."""
    parts = [part.split() for part in case.hyper['layout'].split(', ')]
    kinds = ['coordinate'] + ['category'] * (len(parts) - 1)
    return [
        ObjectProperty(name, int(size), kind)
        for (name, size), kind in zip(parts, kinds, strict=True)
    ]


def match(case: Case, image: int) -> SetMatch:
    """The match of one image; categories are the largest of their numbers, in both sets."""
    properties = layout(case)
    sets = []
    for key in ('in.predictions', 'in.targets'):
        numbers = case[key][image]
        parts = numbers.split([prop.size for prop in properties], dim=1)
        labels = [p.decode(x) for p, x in zip(properties[1:-1], parts[1:-1], strict=True)]
        position, flag = parts[0], parts[-1][:, 0]
        sets.append([x.numpy() for x in (position, torch.stack(labels, dim=1), flag)])
    (position, categories, score), (true_position, true_categories, real) = sets
    real = real > 0
    return match_set(
        score,
        position,
        categories,
        true_position[real],
        true_categories[real],
        distance_scale=3.0,
    )


def metrics_clevr_property_ap(case: Case) -> None:
    """Average precision of all images together, and of each alone."""
    matches = [match(case, image) for image in range(case.hyper['batch'])]
    thresholds = [float('inf') if t == INFINITE else t for t in case.hyper['thresholds']]
    alone = [[property_ap([image], t) for t in thresholds] for image in matches]
    together = [property_ap(matches, t) for t in thresholds]
    case.compare('out.ap.per_image', torch.from_numpy(np.array(alone)).to(case.dtype))
    case.compare('out.ap.aggregate', torch.from_numpy(np.array(together)).to(case.dtype))


SET_PREDICTION: dict[str, Callable[[Case], None]] = {
    'metrics_clevr_property_ap': metrics_clevr_property_ap,
}
