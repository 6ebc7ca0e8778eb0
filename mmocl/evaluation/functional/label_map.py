import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

# Resized masks of more values (1 GiB) are not held at once.
_AT_ONCE = 2**28


def label_map(soft_masks: Float[Tensor, 'K h w'], size: tuple[int, int]) -> Int64[Tensor, 'H W']:
    """Resize soft masks bilinearly, then take the best slot of every pixel.

    The other order costs many points of FG-ARI on coarse masks.

    Args:
        soft_masks: One mask a slot.
        size: Height and width of the label map in pixels.

    Returns:
        Slot ids.
    """
    if soft_masks.shape[0] * size[0] * size[1] <= _AT_ONCE:
        # ``argmax`` over the first axis takes several times as long on a CPU.
        return resized_masks(soft_masks, size).max(dim=0).indices
    # Photographs of many megapixels: one slot after the other, the same values and the same map.
    best = resized_masks(soft_masks[:1], size)[0]
    ids = torch.zeros(size, dtype=torch.int64, device=best.device)
    for slot in range(1, len(soft_masks)):
        mask = resized_masks(soft_masks[slot : slot + 1], size)[0]
        ids[mask > best] = slot
        torch.maximum(best, mask, out=best)
    return ids


def resized_masks(
    soft_masks: Float[Tensor, 'K h w'], size: tuple[int, int]
) -> Float[Tensor, 'K H W']:
    """Resize soft masks bilinearly: the one place that does it.

    Args:
        soft_masks: One mask a slot.
        size: Height and width in pixels.

    Returns:
        The masks, of at least single precision.
    """
    # Half types would round masks to ties; float64 stays.
    if soft_masks.dtype.itemsize < 4:
        soft_masks = soft_masks.float()
    return F.interpolate(soft_masks[None], size, mode='bilinear', align_corners=False)[0]
