import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from mmocl.models.layers import at_least_float32, gather_slots, scatter_slots
from mmocl.registry import MODELS
from mmocl.structures import ModelOutput


@MODELS.register_module()
class CosineSlotLoss(nn.Module):
    """Turns the slots of an image away from each other: COSINELOSS.

    Stange et al., "Exploring the Role of the Bottleneck in Slot-Based Models Through Covariance
    Regularization": ``max(0, cos(slot_i, slot_j) - margin)`` over all ordered pairs of different
    slots of an image, of the slots (B, K, D) as they are.

    The paper sums over the pairs, and lets ``i`` and ``j`` run to the slot width instead of the
    number of slots; as in the code of its authors it is a mean here, which counts a slot with
    itself as a pair of loss 0: the sum over a batch is divided by B*K^2. Inactive slots are left
    out of sum and number. Warm up by :class:`AttributeAnnealingHook` on
    ``'losses.<index>.weight'``.

    Args:
        weight: Weight of the loss in the sum.
        margin: Cosine up to which two slots cost nothing.

    Raises:
        ValueError: If ``weight`` is negative or ``margin`` not in [0, 1).
    """

    name = 'cosine'

    def __init__(self, weight: float = 0.01, margin: float = 0.2) -> None:
        super().__init__()
        if not weight >= 0:
            raise ValueError(f'weight of CosineSlotLoss must not be negative, got {weight}.')
        if not 0 <= margin < 1:
            raise ValueError(f'margin of CosineSlotLoss must be in [0, 1), got {margin}.')
        self.weight = weight
        self.margin = margin

    def forward(self, output: ModelOutput) -> Float[Tensor, '']:
        """Return the weighted loss, in float32 at least."""
        slots, active = output.slots.slots, output.slots.active
        flat, places = gather_slots(slots, active)
        # Inactive slots are zero: no cosine of theirs exceeds the margin.
        cosine = pairwise_cosine(scatter_slots(flat, places, (slots.shape[0], slots.shape[1])))
        itself = torch.eye(slots.shape[1], dtype=torch.bool, device=slots.device)
        excess = functional.relu(cosine - self.margin).masked_fill(itself, 0).sum()
        if active is None:
            return self.weight * excess / cosine.numel()
        return self.weight * excess / active.sum(dim=1).square().sum()


def pairwise_cosine(slots: Float[Tensor, 'B K D']) -> Float[Tensor, 'B K K']:
    """Return the cosines of all pairs of slots of an image, in float32 at least."""
    # Autocast would cast the product back to half.
    with torch.autocast(slots.device.type, enabled=False):
        slots = at_least_float32(slots)
        # As torch's cosine_embedding_loss does; a slot of zeros has a finite gradient.
        units = slots * (slots.square().sum(dim=2, keepdim=True) + 1e-12).rsqrt()
        return units @ units.mT
