"""Where a prediction holds soft masks; it may be a dict, as MMEngine's evaluator hands it over."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from mmocl.structures.slot_data_sample import SlotDataSample

# Mask source: the field of the data sample and the prefix of its results. The last one is what a
# segmentor of mmsegmentation gives, resized to the whole file.
MASK_SOURCES = {
    'decoder': ('pred_masks', ''),
    'attention': ('pred_attn', 'attn_'),
    'segmentor': ('seg_logits', ''),
}


def soft_masks(sample: dict | SlotDataSample, source: str) -> Float[Tensor, 'K h w']:
    """Predicted masks of a source.

    Args:
        sample: Prediction of an image.
        source: One of ``MASK_SOURCES``.

    Returns:
        One mask a slot.

    Raises:
        ValueError: If the source is unknown, or the sample has no such masks.
    """
    if source not in MASK_SOURCES:
        raise ValueError(f'mask source must be among {list(MASK_SOURCES)}, got {source!r}')
    key = MASK_SOURCES[source][0]
    if key not in sample:
        there = [name for name, (other, _) in MASK_SOURCES.items() if other in sample]
        raise ValueError(
            f'mask source {source!r} needs {key!r}, which the prediction of image '
            f'{sample.get("img_id")!r} lacks; as masks there are those of {there}'
        )
    masks: Any = sample.get(key)
    return torch.as_tensor(masks.get('data'))
