import torch
from jaxtyping import Float
from torch import Tensor, nn

from mmocl.models.initializers.base import SlotInitializer
from mmocl.registry import MODELS
from mmocl.structures import Features, SlotState


@MODELS.register_module()
class GaussianSlots(SlotInitializer):
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
        super().__init__(num_slots, slot_dim, init_cfg)
        self.shared = shared
        rows = 1 if shared else num_slots
        self.mean = nn.Parameter(nn.init.xavier_uniform_(torch.empty(1, rows, slot_dim)))
        self.log_scale = nn.Parameter(nn.init.xavier_uniform_(torch.empty(1, rows, slot_dim)))

    @property
    def noise_channels(self) -> int:
        """Width of a slot."""
        return self.slot_dim

    def forward(
        self,
        features: Features,
        num_slots: int | None = None,
        noise: Float[Tensor, '...'] | None = None,
    ) -> SlotState:
        """Draw the initial slots.

        Raises:
            ValueError: If ``num_slots`` differs and every slot has its own Gaussian, or ``noise``
                has another shape than the slots.
        """
        shape = (
            features.tokens.shape[0],
            self.count(num_slots, fixed=not self.shared),
            self.mean.shape[-1],
        )
        return SlotState(self.mean + self.log_scale.exp() * self.draw(self.mean, shape, noise))
