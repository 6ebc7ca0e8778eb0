from abc import ABCMeta, abstractmethod

import torch
from jaxtyping import Bool, Float
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

    @property
    def noise_channels(self) -> int:
        """Width of the draws of a slot in evaluation mode; 0: nothing is drawn then."""
        return 0

    @abstractmethod
    def forward(
        self,
        features: Features,
        num_slots: int | None = None,
        noise: Float[Tensor, '...'] | None = None,
    ) -> SlotState:
        """Return the initial slots of a batch.

        Args:
            features: Tokens as the slot head embeds them; most need the batch size only.
            num_slots: Another number of slots, where the initializer allows it.
            noise: Standard normal draws to use in place of fresh ones.
        """

    def observe(
        self, mean: Float[Tensor, 'B K D'], active: Bool[Tensor, 'B K'] | None = None
    ) -> None:
        """Learn from the final means of a training batch without a gradient; most do nothing.

        Args:
            mean: Means of the last state, in the space of the means that :meth:`forward` gives.
            active: True for the slots that took part (None: all).
        """

    def seeded_noise(
        self, num_images: int, num_slots: int | None = None, seed: int = 0
    ) -> Float[Tensor, 'B K E'] | None:
        """Draw noise for :meth:`forward` that all images share, so that none depends on the others.

        Args:
            num_images: Number of images B.
            num_slots: See :meth:`forward`.
            seed: Of the draws, which are made on the CPU. Fewer slots get the first ones.

        Returns:
            The noise, on the CPU; None if nothing is drawn in evaluation mode.
        """
        if not self.noise_channels:
            return None
        generator = torch.Generator().manual_seed(seed)
        # One slot after the other: what PyTorch draws depends on how much it draws at once.
        slots = range(self.count(num_slots))
        noise = [torch.randn(self.noise_channels, generator=generator) for _ in slots]
        return torch.stack(noise).expand(num_images, -1, -1)

    def draw(
        self, like: Tensor, shape: tuple[int, ...], noise: Float[Tensor, '...'] | None
    ) -> Float[Tensor, 'B K E']:
        """Draw standard normal noise of the type of ``like``, or check the given one.

        Raises:
            ValueError: If the given noise has another shape.
        """
        if noise is None:
            return torch.randn(shape, device=like.device, dtype=like.dtype)
        if noise.shape != shape:
            raise ValueError(f'noise must have shape {shape}, got {tuple(noise.shape)}.')
        return noise

    def count(self, num_slots: int | None, fixed: bool = False) -> int:
        """Return the number of slots asked for, the own one by default.

        Raises:
            ValueError: If it is below one, or differs from the own one and that is ``fixed``.
        """
        num_slots = self.num_slots if num_slots is None else num_slots
        name = type(self).__name__
        if num_slots < 1 or num_slots != int(num_slots):
            raise ValueError(f'{name} needs at least one slot, got num_slots={num_slots}.')
        if fixed and num_slots != self.num_slots:
            raise ValueError(
                f'{name} has {self.num_slots} slots of its own, so it cannot give {num_slots}; '
                'GaussianSlots(shared=True) gives any number.'
            )
        return num_slots
