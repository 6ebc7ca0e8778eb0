"""Everything about every slot: a row a slot."""

import numpy as np
from jaxtyping import Float

from mmocl.structures import SlotDataSample
from mmocl.visualization.drawing import Picture, resized
from mmocl.visualization.layout import titled_grid
from mmocl.visualization.palette import WHITE, palette
from mmocl.visualization.sample_maps import active_slots, shown_masks, soft, tile_size, to_picture

# How much of an inactive slot's pictures is left.
_PALE = 0.2


def slot_grid(image: Picture, sample: SlotDataSample, side: int = 112) -> Picture:
    """Draw a row for every slot: its mask, its part of the image, and how it came about.

    Columns, those that the sample's fields allow: the decoder's ``mask`` (white: all of the pixel
    is this slot's), the ``image part`` under it, what the decoder paints from the ``slot
    alone``, and the attention after every update of the slots (``attention, step 1``, ...; without
    ``pred_steps`` after the last one). Labels give the mixing weight of a mixture; inactive slots
    are pale. Without a decoder's masks the part is that of the attention.

    Args:
        image: The RGB image that the model saw.
        sample: Predictions; ``predict(..., keep_steps=True)`` gives all that can be drawn.
        side: Longer side of a tile in pixels.

    Raises:
        ValueError: If the sample holds no masks.
    """
    size = tile_size(image, side)
    shown = resized(image, *size)
    shares = soft(shown_masks(sample), size)
    columns: dict[str, list[Picture]] = {}
    if 'pred_masks' in sample:
        columns['mask'] = [grey_levels(share) for share in shares]
    steps = sample.get('pred_steps')
    if 'pred_attn' in sample:
        steps = sample.pred_attn.data[None] if steps is None else steps
    columns['image part'] = [cut_out(shown, share) for share in shares]
    if 'pred_slot_images' in sample:
        columns['slot alone'] = [to_picture(one) for one in sample.pred_slot_images]
    if steps is not None:
        for t, step in enumerate(steps, start=1):
            title = f'attention, step {t}' if len(steps) > 1 else 'attention'
            columns[title] = [grey_levels(attn) for attn in soft(step, size)]
    num_slots = len(shares)
    active = active_slots(sample, num_slots)
    rows = [
        [column[k] if active[k] else pale(column[k]) for column in columns.values()]
        for k in range(num_slots)
    ]
    return titled_grid(
        rows, list(columns), slot_labels(sample, num_slots), palette(num_slots), size
    )


def slot_labels(sample: SlotDataSample, num_slots: int) -> list[str]:
    """Names of slots, with their mixing weights if they have some."""
    active = active_slots(sample, num_slots)
    slots = sample.get('pred_slots')
    weights = None if slots is None or 'weight' not in slots else slots.weight.tolist()
    labels = []
    for k in range(num_slots):
        label = f'slot {k}'
        if not active[k]:
            label += '\ninactive'
        elif weights is not None:
            label += f'\nweight {weights[k]:.2f}'
        labels.append(label)
    return labels


def grey_levels(mask: Float[np.ndarray, 'H W']) -> Picture:
    """Shares in [0, 1] from black to white."""
    return np.repeat((255 * mask).round().astype(np.uint8)[..., None], 3, axis=-1)


def cut_out(image: Picture, share: Float[np.ndarray, 'H W']) -> Picture:
    """The part of an image under a soft mask, on white."""
    part = share[..., None] * image + (1 - share[..., None]) * WHITE
    return part.round().astype(np.uint8)


def pale(picture: Picture) -> Picture:
    """A picture of what does not count."""
    return (_PALE * picture + (1 - _PALE) * WHITE).astype(np.uint8)
