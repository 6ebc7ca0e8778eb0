"""How the slots divide an image among them, update by update."""

from mmocl.structures import SlotDataSample
from mmocl.visualization.drawing import Picture, overlay, resized
from mmocl.visualization.layout import titled_grid
from mmocl.visualization.sample_maps import slot_ids, tile_size


def step_strip(image: Picture, sample: SlotDataSample, side: int = 224) -> Picture:
    """Draw the image, the slots of highest attention after every update, and the decoder's masks.

    Args:
        image: The RGB image that the model saw.
        sample: Predictions; without ``pred_steps``, which ``predict(..., keep_steps=True)`` gives,
            the attention after the last update alone is drawn.
        side: Longer side of a tile in pixels.

    Raises:
        ValueError: If the sample holds no attention.
    """
    if 'pred_attn' not in sample:
        raise ValueError('the sample holds no pred_attn: no steps to draw')
    size = tile_size(image, side)
    shown = resized(image, *size)
    pictures = {'image': shown}
    steps = sample.get('pred_steps')
    for t, step in enumerate(sample.pred_attn.data[None] if steps is None else steps, start=1):
        title = 'attention' if steps is None else f'attention, step {t}'
        pictures[title] = overlay(shown, slot_ids(sample, step, size), numbers=True)
    if 'pred_masks' in sample:
        ids = slot_ids(sample, sample.pred_masks.data, size)
        pictures['masks of the decoder'] = overlay(shown, ids, numbers=True)
    return titled_grid([list(pictures.values())], list(pictures), tile=size)
