"""True objects beside predicted slots, with the scores of the image."""

import math
from typing import Any

from mmocl.evaluation.protocols import get_protocol
from mmocl.structures import SlotDataSample
from mmocl.visualization.drawing import Picture, annotated, overlay, resized
from mmocl.visualization.image_scores import image_scores
from mmocl.visualization.layout import headed, titled_grid
from mmocl.visualization.overview import true_picture
from mmocl.visualization.sample_maps import mask_source, nearest, shown_masks, slot_ids, tile_size


def score_panel(
    image: Picture,
    sample: SlotDataSample,
    protocol: str | dict[str, Any] = 'square128',
    side: int = 224,
) -> Picture:
    """Draw the image, its true objects and the slots, under a line with FG-ARI, mBO and mIoU.

    A true object has the colour of the slot that is matched with it one-to-one, and its IoU with
    this slot in the middle, if there is room; one that no slot overlaps is light grey. What is not
    scored is grey, the background black. Without ground truth the slots are drawn alone.

    Args:
        image: The RGB image that the model saw.
        sample: Predictions, and ground truth if there is any.
        protocol: How the image is scored, see :func:`~mmocl.visualization.image_scores`.
        side: Longer side of a tile in pixels.

    Raises:
        ValueError: If the sample holds no masks.
    """
    masks, source = shown_masks(sample), mask_source(sample)
    assert source is not None
    size = tile_size(image, side)
    shown = resized(image, *size)
    ids = slot_ids(sample, masks, size)
    pictures = {'image': shown}
    text = 'no true masks, no scores'
    if 'gt_objects' in sample and 'masks' in sample.gt_objects:
        scores = image_scores(sample, source, protocol)
        truth = nearest(scores.truth, size)
        picture = true_picture(truth, scores.matches)
        labels = {i: f'{match.iou:.2f}' for i, match in scores.matches.items()}
        labels = {i: text for i, text in labels.items() if text != '0.00'}
        pictures['true objects, IoU'] = annotated(picture, truth, labels, spill=True)
        text = '   '.join(
            f'{name} {_text(value)}'
            for name, value in (
                ('FG-ARI', scores.fg_ari),
                ('mBO', scores.mbo),
                ('mIoU', scores.miou),
            )
        )
        text += f'   ({get_protocol(protocol).name})'
    title = 'slots (masks)' if source == 'decoder' else 'slots (attention)'
    pictures[title] = overlay(shown, ids, numbers=True)
    return headed(titled_grid([list(pictures.values())], list(pictures), tile=size), text)


def _text(value: float) -> str:
    return '-' if math.isnan(value) else f'{value:z.2f}'
