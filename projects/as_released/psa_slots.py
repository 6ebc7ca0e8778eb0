import torch
from jaxtyping import Float
from torch import Tensor, nn

from mmocl.models.initializers import GaussianSlots
from mmocl.registry import MODELS
from mmocl.structures import Features, SlotState


@MODELS.register_module()
class ReleasedPSASlots(GaussianSlots):
    """Where slots start in the released code of PSA, `arXiv:2406.07141`_.

    One learned Gaussian for all slots, as :class:`GaussianSlots`; its scale is the standard
    deviation of every mixture component before the first step too. The mean starts from N(0, 1),
    the log-scale from U(0, 1). The paper draws from N(0, I) and starts with unit variances, nothing
    learned.

    Args:
        num_slots: Number of slots K.
        slot_dim: Slot width D.
        init_cfg: MMEngine's initialisation config.

    .. _arXiv:2406.07141: https://arxiv.org/abs/2406.07141
    """

    EPS = 1e-8

    def __init__(self, num_slots: int, slot_dim: int, init_cfg: dict | None = None) -> None:
        super().__init__(num_slots, slot_dim, init_cfg=init_cfg)
        self.mean = nn.Parameter(torch.randn(1, slot_dim))
        self.log_scale = nn.Parameter(torch.rand(1, slot_dim))

    def forward(
        self,
        features: Features,
        num_slots: int | None = None,
        noise: Float[Tensor, 'B K D'] | None = None,
    ) -> SlotState:
        """Draw the first means; every component gets the same variances."""
        mean = super().forward(features, num_slots, noise).mean
        log_var = 2 * (self.log_scale.exp() + self.EPS).log()
        return SlotState(mean, log_var.expand_as(mean))
