from collections.abc import Sequence

import torch
from mmengine.structures import InstanceData, PixelData

from mmocl.structures import Features, SlotDataSample, SlotOutput


def fill_slots(samples: Sequence[SlotDataSample], features: Features, slots: SlotOutput) -> None:
    """Write ``pred_attn`` and ``pred_slots`` of every image.

    ``pred_slots`` holds ``slots`` (K, D), ``active`` (K,), False for the slots that were not
    decoded, and the mixing ``weight`` (K,) if the slot head fits a mixture. ``pred_steps``
    (T, K, h, w) is the attention of every update, the last one included, if it was kept.
    """
    active = slots.active
    if active is None:
        shape = slots.slots.shape[:2]
        active = torch.ones(shape, dtype=torch.bool, device=slots.slots.device)
    attn = slots.attn.unflatten(2, features.grid)
    steps = None
    if slots.steps is not None:
        earlier = [step.attn.unflatten(2, features.grid) for step in slots.steps]
        steps = torch.stack([*earlier, attn], dim=1)
    for i, sample in enumerate(samples):
        sample.pred_attn = PixelData(data=attn[i])
        sample.pred_slots = InstanceData(slots=slots.slots[i], active=active[i])
        if slots.state.log_weight is not None:
            sample.pred_slots.weight = slots.state.log_weight[i].exp()
        if steps is not None:
            sample.pred_steps = steps[i]
