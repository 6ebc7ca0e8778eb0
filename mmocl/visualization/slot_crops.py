"""Small pictures of the parts of an image that slots stand for."""

import numpy as np

from mmocl.structures import SlotDataSample
from mmocl.visualization.drawing import Picture, fit
from mmocl.visualization.palette import WHITE
from mmocl.visualization.sample_maps import shown_masks, slot_ids


def slot_crops(image: Picture, sample: SlotDataSample, side: int = 64) -> list[Picture | None]:
    """The part of the image under every slot, on white, cut to the box around it.

    Args:
        image: The RGB image that the model saw.
        sample: Predictions.
        side: Side of a picture in pixels.

    Returns:
        A picture a slot, None for one without a pixel.

    Raises:
        ValueError: If the sample holds no masks.
    """
    masks = shown_masks(sample)
    ids = slot_ids(sample, masks, (image.shape[0], image.shape[1]))
    crops: list[Picture | None] = []
    for k in range(len(masks)):
        rows, columns = np.nonzero(ids == k)
        if not rows.size:
            crops.append(None)
            continue
        box = np.s_[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        part = np.where((ids == k)[..., None], image, np.uint8(WHITE))[box]
        crops.append(fit(part, side, side))
    return crops
