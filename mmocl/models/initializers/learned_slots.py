import torch
from mmengine.model import BaseModule
from torch import nn

from mmocl.registry import MODELS
from mmocl.structures import Features, SlotState


@MODELS.register_module()
class LearnedSlots(BaseModule):
    """Slots start from learned queries, the same for every image.

    BO-QSA, `arXiv:2210.08990 <https://arxiv.org/abs/2210.08990>`_, without the query noise. The
    queries learn with ``gradient='bilevel'`` or ``'unrolled'`` of the slot head.

    Args:
        num_slots: Number of slots K.
        slot_dim: Slot width D.
        init_cfg: MMEngine's initialisation config.
    """

    def __init__(self, num_slots: int, slot_dim: int, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        self.num_slots = num_slots
        self.queries = nn.Parameter(nn.init.xavier_uniform_(torch.empty(1, num_slots, slot_dim)))

    def forward(self, features: Features, num_slots: int | None = None) -> SlotState:
        """Return the queries for every image of the batch.

        Raises:
            ValueError: If ``num_slots`` is not the number of queries.
        """
        if num_slots not in (None, self.num_slots):
            raise ValueError(f'LearnedSlots has {self.num_slots} queries, not {num_slots}.')
        return SlotState(self.queries.expand(len(features.tokens), -1, -1))
