"""Slots of an image in the pixels of its file, whatever part of it the model was shown."""

import math

import numpy as np
from jaxtyping import Bool, UInt8

from mmocl.datasets.transforms.resize_crop import center_offset, resized_shape
from mmocl.evaluation.functional import label_map
from mmocl.structures import SlotDataSample, soft_masks
from mmocl.visualization import drawing

# Pixels that belong to no slot: the index that mmseg's losses and metrics ignore by default.
UNSEEN = 255
# Pixels of a picture that is drawn in its own size.
_DRAWN_PIXELS = 16_000_000


def slot_map(sample: SlotDataSample, source: str = 'decoder') -> UInt8[np.ndarray, 'H W']:
    """Draw the masks of an image as a map of slots that fits its file, pixel by pixel.

    The soft masks are resized bilinearly to the part of the file that the model was shown, then
    the best active slot of every pixel is taken. The part is known to within a pixel of the
    model's input if ``LoadImage(min_side=...)`` decoded a JPEG at a reduced scale, else to half a
    pixel of the file.

    Args:
        sample: Predictions of an image that went through ``LoadImage``, maybe ``ResizeCrop``, and
            ``PackSlotInputs``.
        source: ``'decoder'`` for ``pred_masks``, ``'attention'`` for ``pred_attn``.

    Returns:
        Index of the slot, counting inactive ones too, at the height and width of the file;
        ``UNSEEN`` where the model was shown nothing, and everywhere if no slot is active.

    Raises:
        ValueError: If the sample has no such masks, they hold NaN or more slots than indices, or
            the part of the file that was shown is not known.
    """
    masks = soft_masks(sample, source)
    if len(masks) > UNSEEN:
        raise ValueError(
            f'{_name(sample)} has {len(masks)} slots; expected at most {UNSEEN}, since maps hold '
            f'indices of 8 bits of which {UNSEEN} marks pixels that were not shown '
            '(model.slot_head.initializer.num_slots)'
        )
    if not bool(masks.isfinite().all()):
        raise ValueError(f'soft masks of {_name(sample)} hold NaN or infinite values')
    top, left, bottom, right = shown_part(sample)
    ids = np.full(sample.get('file_shape', sample.ori_shape), UNSEEN, np.uint8)
    active = _active(sample, len(masks))
    if active.any():
        best = label_map(masks[active], (bottom - top, right - left)).cpu().numpy()
        ids[top:bottom, left:right] = np.flatnonzero(active).astype(np.uint8)[best]
    return ids


def slot_overlay(
    image: UInt8[np.ndarray, 'H W 3'], ids: UInt8[np.ndarray, 'H W']
) -> drawing.Picture:
    """Draw a map of slots over its image; what the model was not shown becomes grey.

    Args:
        image: RGB image.
        ids: Its map, see :func:`slot_map`.

    Returns:
        A picture of the size of the image; above 16 million pixels of every second pixel, third
        and so on.
    """
    step = math.ceil(math.sqrt(ids.size / _DRAWN_PIXELS))
    image, ids = image[::step, ::step], ids[::step, ::step]
    return drawing.overlay(image, ids)


def shown_part(sample: SlotDataSample) -> tuple[int, int, int, int]:
    """Part of the file that the model was shown: the pixels whose centres lie in it.

    Returns:
        Its top, left, bottom and right, in pixels of the file.

    Raises:
        ValueError: If the image was cropped at random or flipped, or its shape is not known.
    """
    crop = sample.get('crop', 'squash')  # without ResizeCrop all of the image is shown
    if crop not in ('center', 'squash') or sample.get('flip'):
        moved = 'was flipped' if sample.get('flip') else f'has crop {crop!r}'
        raise ValueError(
            f'{_name(sample)} {moved}, so masks cannot be put back into its file; expected '
            "ResizeCrop(crop='center') or 'squash' and no RandomFlip in "
            'test_dataloader.dataset.pipeline'
        )
    if 'ori_shape' not in sample:
        raise ValueError(f'{_name(sample)} has no ori_shape; expected a pipeline with LoadImage')
    height, width = sample.ori_shape
    top, left, bottom, right = 0, 0, height, width
    if crop == 'center':
        size = sample.img_shape[0]
        rows, columns = resized_shape(height, width, size)
        top, bottom = _shown_pixels(height, rows, size)
        left, right = _shown_pixels(width, columns, size)
    # A frame is the image, to all that follows it in a pipeline.
    down, across = sample.get('frame', (0, 0))[:2]
    return top + down, left + across, bottom + down, right + across


def _shown_pixels(side: int, resized: int, size: int) -> tuple[int, int]:
    """Pixels of an axis whose centres lie in the ``size`` central ones after it is resized."""
    start = center_offset(resized - size)
    # The first x with (x + 0.5) / side >= edge / resized, in integers.
    first, stop = (
        -((resized - 2 * edge * side) // (2 * resized)) for edge in (start, start + size)
    )
    return first, stop


def _active(sample: SlotDataSample, num_slots: int) -> Bool[np.ndarray, ' K']:
    """Slots that count; all of them if the sample does not say."""
    slots = sample.get('pred_slots')
    if slots is None or 'active' not in slots:
        return np.ones(num_slots, dtype=bool)
    return slots.active.cpu().numpy()


def _name(sample: SlotDataSample) -> str:
    return f'image {sample.get("img_path", sample.get("img_id"))}'
