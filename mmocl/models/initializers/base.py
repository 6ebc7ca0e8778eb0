from abc import ABCMeta, abstractmethod

from jaxtyping import Float
from mmengine.model import BaseModule
from torch import Tensor

from mmocl.structures import Features, SlotState


class SlotInitializer(BaseModule, metaclass=ABCMeta):
    """Base of all modules that say where slots start.

    Args:
        num_slots: Number of slots K.
        slot_dim: Slot width D.
        init_cfg: MMEngine's initialisation config.
    """

    def __init__(self, num_slots: int, slot_dim: int, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        self.num_slots = num_slots
        self.slot_dim = slot_dim
        self.count(None)

    @abstractmethod
    def forward(
        self,
        features: Features,
        num_slots: int | None = None,
        noise: Float[Tensor, 'B K E'] | None = None,
    ) -> SlotState:
        """Return the initial slots of a batch.

        Args:
            features: Tokens as the slot head embeds them; most need the batch size only.
            num_slots: Another number of slots, where the initializer allows it.
            noise: Standard normal draws to use in place of fresh ones.
        """

    def observe(self, slots: Float[Tensor, 'B K D']) -> None:
        """Learn from the final slots of a training batch without a gradient; most do nothing."""

    def count(self, num_slots: int | None, fixed: bool = False) -> int:
        """Return the number of slots asked for, the own one by default.

        Raises:
            ValueError: If it is below one, or differs from the own one and that is ``fixed``.
        """
        num_slots = self.num_slots if num_slots is None else num_slots
        name = type(self).__name__
        if num_slots < 1:
            raise ValueError(f'{name} needs at least one slot, got num_slots={num_slots}.')
        if fixed and num_slots != self.num_slots:
            raise ValueError(
                f'{name} has {self.num_slots} slots of its own, so it cannot give {num_slots}; '
                'GaussianSlots(shared=True) gives any number.'
            )
        return num_slots
