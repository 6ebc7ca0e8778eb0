from jaxtyping import Float
from torch import Tensor

from mmocl.models.initializers import GaussianSlots
from mmocl.registry import MODELS
from mmocl.structures import Features, SlotState


@MODELS.register_module()
class ReleasedSMMSlots(GaussianSlots):
    """One learned Gaussian over mean and log standard deviation together, shared by all slots.

    Where slots start in ``FairGMM`` of the released code of SMM, `arXiv:2311.04640
    <https://arxiv.org/abs/2311.04640>`_: the initial standard deviations are drawn too. ``noise``
    is (B, K, 2D).

    Args:
        num_slots: Number of slots K.
        slot_dim: Slot width D.
        init_cfg: MMEngine's initialisation config.
    """

    def __init__(self, num_slots: int, slot_dim: int, init_cfg: dict | None = None) -> None:
        super().__init__(num_slots, 2 * slot_dim, init_cfg=init_cfg)
        self.slot_dim = slot_dim

    def forward(
        self,
        features: Features,
        num_slots: int | None = None,
        noise: Float[Tensor, 'B K E'] | None = None,
    ) -> SlotState:
        """Draw means and log standard deviations."""
        mean, log_std = super().forward(features, num_slots, noise).mean.chunk(2, dim=2)
        return SlotState(mean, 2 * log_std)
