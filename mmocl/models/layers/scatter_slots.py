from jaxtyping import Bool, Float, Int64
from torch import Tensor

from mmocl.models.layers.require import require


def require_active(slots: Float[Tensor, 'B K D'], active: Bool[Tensor, '...'] | None) -> None:
    """Refuse flags that do not say for every slot whether it is decoded, one of an image at least.

    Raises:
        ValueError: If ``active`` has another shape than one flag a slot, or an image has no active
            slot.
    """
    if active is None:
        return
    if active.shape != slots.shape[:2]:
        raise ValueError(
            f'active must say for every slot whether it is decoded, shape '
            f'{tuple(slots.shape[:2])}, got {tuple(active.shape)}.'
        )
    # A softmax over the slots of such an image would be NaN.
    require(active.any(dim=1).all(), 'active leaves an image without slots.')


def gather_slots(
    slots: Float[Tensor, 'B K D'], active: Bool[Tensor, '...'] | None
) -> tuple[Float[Tensor, 'A D'], Int64[Tensor, ' A'] | None]:
    """List the slots of a batch that per-slot layers have to run on.

    Args:
        slots: Slots of every image.
        active: True for the slots to keep, (B, K); None keeps all. Their number is read back from
            the device.

    Returns:
        The slots in one row, and their places among all B*K for :func:`scatter_slots` (None: all of
        them, in order).

    Raises:
        ValueError: If ``active`` has another shape than one flag a slot, or an image has no active
            slot.
    """
    if active is None:
        return slots.flatten(0, 1), None
    require_active(slots, active)
    index = active.flatten().nonzero().squeeze(1)
    return slots.flatten(0, 1).index_select(0, index), index


def scatter_slots(
    values: Float[Tensor, 'A ...'],
    index: Int64[Tensor, ' A'] | None,
    shape: tuple[int, int],
    fill: float = 0.0,
) -> Float[Tensor, 'B K ...']:
    """Put results of per-slot layers back where :func:`gather_slots` took their slots from.

    Args:
        values: One result a gathered slot.
        index: The places of these slots.
        shape: Images B and slots K of the batch.
        fill: What the slots that were left out get.

    Returns:
        One result a slot.
    """
    if index is None:
        return values.unflatten(0, shape)
    # Of the dtype of the values: under autocast that is not the one of the slots.
    full = values.new_full((shape[0] * shape[1], *values.shape[1:]), fill)
    return full.index_copy_(0, index, values).unflatten(0, shape)
