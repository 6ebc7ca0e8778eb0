from typing import Any

from jaxtyping import Float
from torch import Tensor

from mmocl.apis.slot_map import slot_map
from mmocl.structures import SlotDataSample, soft_masks


def mask_source(sample: SlotDataSample, masks: str | None = None) -> str:
    """Name the masks to draw: those asked for; else the decoder's, or attention if it has none.

    Raises:
        ValueError: If ``masks`` is neither None, ``'decoder'`` nor ``'attention'``.
    """
    if masks not in (None, 'decoder', 'attention'):
        raise ValueError(f"masks must be 'decoder', 'attention' or None, got {masks!r}")
    return masks or ('decoder' if 'pred_masks' in sample else 'attention')


def slot_weights(sample: SlotDataSample) -> Float[Tensor, ' K']:
    """Mixing weights of the slots; of a head without a mixture their shares of the attention."""
    if 'weight' in sample.pred_slots:
        return sample.pred_slots.weight
    attention = sample.pred_attn.data.flatten(1)
    return attention.sum(dim=1) / attention.sum()


def slot_arrays(sample: SlotDataSample, masks: str | None = None) -> dict[str, Any]:
    """Turn a prediction into arrays.

    Args:
        sample: Prediction of a picture.
        masks: Which masks, see :func:`mask_source`.

    Returns:
        ``name`` of the picture; ``label_map`` (H, W) uint8, see :func:`slot_map`; soft ``masks``
        and ``attention`` (K, h, w), either with the grid of what makes it; ``slots`` (K, D);
        ``weights`` (K,), see :func:`slot_weights`; ``active`` (K,) bool; if they were kept
        ``steps`` (T, K, h, w), the attention of every iteration; and of set prediction ``set``,
        its properties and ``score`` by name, one object a slot.

    Raises:
        ValueError: See :func:`mask_source` and :func:`slot_map`.
    """
    source = mask_source(sample, masks)
    tensors = {
        'masks': soft_masks(sample, source),
        'attention': sample.pred_attn.data,
        'slots': sample.pred_slots.slots,
        'weights': slot_weights(sample),
        'active': sample.pred_slots.active,
    }
    if 'pred_steps' in sample:
        tensors['steps'] = sample.pred_steps
    arrays = {'name': sample.img_id, 'label_map': slot_map(sample, source)}
    arrays |= {key: value.numpy(force=True) for key, value in tensors.items()}
    if 'pred_set' in sample:
        arrays['set'] = {key: value.numpy(force=True) for key, value in sample.pred_set.items()}
    return arrays
