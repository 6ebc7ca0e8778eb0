import torch
from jaxtyping import Float
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmocl.registry import MODELS
from mmocl.structures import Features, SlotState


@MODELS.register_module()
class GaussianSlots(BaseModule):
    """Slots drawn from a learned diagonal Gaussian, shared by all slots or one each.

    Slot Attention, `arXiv:2006.15055 <https://arxiv.org/abs/2006.15055>`_ (shared). Mean and
    log-scale start Xavier-uniform as in the official code.

    Args:
        num_slots: Number of slots K; with ``shared`` it can be overridden at every call.
        slot_dim: Slot width D.
        shared: One Gaussian for all slots (slots are exchangeable), or one for each.
        init_cfg: MMEngine's initialisation config.
    """

    def __init__(
        self,
        num_slots: int,
        slot_dim: int,
        shared: bool = True,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.num_slots = num_slots
        self.shared = shared
        rows = 1 if shared else num_slots
        self.mean = nn.Parameter(nn.init.xavier_uniform_(torch.empty(1, rows, slot_dim)))
        self.log_scale = nn.Parameter(nn.init.xavier_uniform_(torch.empty(1, rows, slot_dim)))

    def forward(
        self,
        features: Features,
        num_slots: int | None = None,
        noise: Float[Tensor, 'B K D'] | None = None,
    ) -> SlotState:
        """Draw the initial slots.

        Args:
            features: Gives the batch size.
            num_slots: Another number of slots than the one of the constructor.
            noise: Standard normal draws to use instead of fresh ones.

        Raises:
            ValueError: If ``num_slots`` differs and every slot has its own Gaussian.
        """
        num_slots = self.num_slots if num_slots is None else num_slots
        if not self.shared and num_slots != self.num_slots:
            raise ValueError(
                f'GaussianSlots(shared=False) has {self.num_slots} Gaussians, '
                f'so it cannot give {num_slots} slots; use shared=True for a free number.'
            )
        if noise is None:
            noise = torch.randn(
                len(features.tokens),
                num_slots,
                self.mean.shape[-1],
                device=self.mean.device,
                dtype=self.mean.dtype,
            )
        return SlotState(self.mean + self.log_scale.exp() * noise)
