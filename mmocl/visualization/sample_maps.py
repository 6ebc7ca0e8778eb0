"""What pictures take from a data sample, as arrays of a wanted size."""

import numpy as np
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor

from mmocl.evaluation.functional.label_map import label_map, resized_masks
from mmocl.structures import MASK_SOURCES, SlotDataSample
from mmocl.visualization.drawing import Picture
from mmocl.visualization.palette import UNSEEN

Size = tuple[int, int]
# Sources whose masks are of slots, the best first.
_SHOWN = ('decoder', 'attention')


def to_picture(image: Float[Tensor, '3 H W']) -> Picture:
    """Pixels in [0, 255], channels first, as a picture."""
    return image.detach().permute(1, 2, 0).round().byte().cpu().numpy()


def mask_source(sample: SlotDataSample) -> str | None:
    """Which masks are shown: the decoder's, else the attention; None if there are none."""
    return next((name for name in _SHOWN if MASK_SOURCES[name][0] in sample), None)


def shown_masks(sample: SlotDataSample) -> Float[Tensor, 'K h w']:
    """Masks of the slots: the decoder's, else the attention.

    Raises:
        ValueError: If the sample has neither.
    """
    source = mask_source(sample)
    if source is None:
        raise ValueError(
            f'image {sample.get("img_id")!r} has neither pred_masks nor pred_attn: there are no '
            'slots to draw'
        )
    return sample.get(MASK_SOURCES[source][0]).data


def active_slots(sample: SlotDataSample, num_slots: int) -> Bool[np.ndarray, ' K']:
    """Slots that count; all of them if the sample does not say."""
    slots = sample.get('pred_slots')
    if slots is None or 'active' not in slots:
        return np.ones(num_slots, bool)
    return slots.active.numpy(force=True)


def slot_ids(
    sample: SlotDataSample, masks: Float[Tensor, 'K h w'], size: Size
) -> Int64[np.ndarray, 'H W']:
    """The best active slot of every pixel; ``UNSEEN`` everywhere if none is active."""
    active = active_slots(sample, len(masks))
    if not active.any():
        return np.full(size, UNSEEN, np.int64)
    best = label_map(masks.detach().cpu()[active], size).numpy()
    return np.flatnonzero(active)[best].astype(np.int64)


def soft(masks: Float[Tensor, 'K h w'], size: Size) -> Float[np.ndarray, 'K H W']:
    """Masks resized bilinearly, in [0, 1]."""
    return resized_masks(masks.detach(), size).clamp(0, 1).nan_to_num().numpy(force=True)


def drawn_objects(sample: SlotDataSample) -> Bool[np.ndarray, ' M'] | None:
    """Which annotations are objects: neither stuff nor crowds; None without true masks."""
    if 'gt_objects' not in sample or 'masks' not in sample.gt_objects:
        return None
    objects = sample.gt_objects
    drawn = np.ones(len(objects.masks), bool)
    for name in ('stuff', 'crowd'):
        if name in objects:
            drawn &= ~objects.get(name).numpy(force=True).astype(bool)
    return drawn


def true_ids(sample: SlotDataSample, size: Size) -> Int64[np.ndarray, 'H W'] | None:
    """Objects, from 1, on the part of the image that the model saw; None without true masks.

    Later objects lie on top; 0 is the background, stuff too; -1 is what nobody annotated, and
    crowds.
    """
    drawn = drawn_objects(sample)
    if drawn is None:
        return None
    objects = sample.gt_objects
    masks = objects.masks.numpy(force=True)
    ids = np.zeros(masks.shape[1:], np.int64)
    if 'crowd' in objects:
        ids[masks[objects.crowd.numpy(force=True).astype(bool)].any(axis=0)] = -1
    for i, mask in enumerate(masks[drawn], start=1):
        ids[mask] = i
    if 'gt_void' in sample:
        ids[sample.gt_void.data.numpy(force=True)[0].astype(bool)] = -1
    # Without ResizeCrop all of the image is shown.
    if sample.get('crop', 'squash') == 'center':
        height, width = ids.shape
        short = min(height, width)
        top, left = (height - short) // 2, (width - short) // 2
        ids = ids[top : top + short, left : left + short]
    return nearest(ids, size)


def nearest(ids: Int64[np.ndarray, 'h w'], size: Size) -> Int64[np.ndarray, 'H W']:
    """Resize a label map."""
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(int)
        for new, old in zip(size, ids.shape, strict=True)
    )
    return ids[np.ix_(rows, columns)]


def tile_size(image: UInt8[np.ndarray, 'H W 3'], side: int) -> Size:
    """Height and width of an image whose longer side is ``side``."""
    scale = side / max(image.shape[:2])
    return max(1, round(image.shape[0] * scale)), max(1, round(image.shape[1] * scale))
