"""One line an image: what went in, what came out, what is true."""

from jaxtyping import Int64
from numpy import int64, ndarray, where

from mmocl.structures import SlotDataSample
from mmocl.visualization.drawing import Picture, colorize, overlay, resized
from mmocl.visualization.image_scores import Match, matches
from mmocl.visualization.palette import palette
from mmocl.visualization.sample_maps import slot_ids, to_picture, true_ids

# Of objects that no slot was left for.
LEFT_OVER = 225


def overview_tiles(
    image: Picture, sample: SlotDataSample, size: tuple[int, int] | None = None
) -> dict[str, Picture]:
    """Pictures of one sample, those that its fields allow, by their titles.

    Masks are resized before the best slot of a pixel is taken. A true object has the colour of the
    slot that is matched with it, and is light grey if there is none.

    Args:
        image: The RGB image that the model saw.
        sample: Predictions, and ground truth if there is any.
        size: Height and width of the pictures; those of the image if not given.
    """
    size = size or (image.shape[0], image.shape[1])
    shown = resized(image, *size)
    pictures = {'image': shown}
    if 'pred_image' in sample:
        pictures['reconstruction'] = resized(to_picture(sample.pred_image.data), *size)
    pred = None
    for field, title in (('pred_masks', 'masks'), ('pred_attn', 'attention')):
        if field in sample:
            ids = slot_ids(sample, getattr(sample, field).data, size)
            pictures[title] = overlay(shown, ids)
            pred = ids if pred is None else pred
    truth = true_ids(sample, size)
    if truth is not None:
        found = matches(truth, pred) if pred is not None else None
        pictures['true objects'] = true_picture(truth, found)
    return pictures


def true_picture(truth: Int64[ndarray, 'H W'], found: dict[int, Match] | None = None) -> Picture:
    """Draw true objects on black, in the colours of the slots that are matched with them.

    Args:
        truth: 0 background, above 0 objects, below 0 ignored (grey).
        found: Matches by object; without them object 1 has the first colour.
    """
    if found is None:
        return colorize(truth, background=True)
    picture = colorize(where(truth > 0, int64(0), truth), background=True)
    for i, match in found.items():
        color = LEFT_OVER if match.slot is None else palette(match.slot + 1)[-1]
        picture[truth == i] = color
    return picture
