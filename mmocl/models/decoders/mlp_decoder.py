import math
from itertools import pairwise

import torch
from jaxtyping import Bool, Float
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn import functional

from mmocl.models.layers import gather_slots, require_grid, resized_positions, scatter_slots
from mmocl.registry import MODELS
from mmocl.structures import Decoded, Target


@MODELS.register_module()
class MLPDecoder(BaseModule):
    """Decode every slot at every patch by one MLP; slots are mixed by a softmax over alpha.

    DINOSAUR, `arXiv:2209.14860 <https://arxiv.org/abs/2209.14860>`_, appendix. Computed with two
    exact short cuts: the first layer is split, ``W(slot + position) = W slot + W position``, and
    the mixture commutes with the last linear layer, so hidden units are mixed over the slots before
    they are projected to features once, not K times.

    Args:
        slot_dim: Slot width D.
        out_channels: Channels of the target.
        grid: Patches (h, w) that positions are learned for.
        hidden_channels: Width of the hidden layers.
        num_hidden: Number of hidden layers.
        embed_channels: Width that slots are projected to before they meet the positions, as the
            code of DINOSAUR can; None takes them as they are.
        init_cfg: MMEngine's initialisation config.
    """

    #: Whether the reconstruction comes with masks of the slots.
    has_masks = True
    #: What is reconstructed: an ``'image'``, ``'tokens'``, token ``'ids'`` or a ``'set'``.
    shape = 'tokens'

    def __init__(
        self,
        slot_dim: int,
        out_channels: int,
        grid: tuple[int, int],
        hidden_channels: int = 2048,
        num_hidden: int = 3,
        embed_channels: int | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if num_hidden < 1:
            raise ValueError(f'MLPDecoder needs at least one hidden layer, got {num_hidden}.')
        self.grid = (int(grid[0]), int(grid[1]))
        self.embed: nn.Module = nn.Identity()
        width = slot_dim
        if embed_channels is not None:
            self.embed = nn.Linear(slot_dim, embed_channels)
            width = embed_channels
        self.position = nn.Parameter(torch.randn(1, self.grid[0] * self.grid[1], width) * 0.02)
        widths = [width] + [hidden_channels] * num_hidden
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        # The last row is alpha.
        self.project = nn.Linear(hidden_channels, out_channels + 1)
        for layer in [*self.hidden, self.project]:
            nn.init.zeros_(layer.bias)

    def forward(
        self,
        slots: Float[Tensor, 'B K D'],
        target: Target | None = None,
        active: Bool[Tensor, '...'] | None = None,
    ) -> Decoded:
        """Decode to features (B, N, C) and masks (B, K, h, w).

        With ``active`` (B, K) only its slots run through the layers; masks of the others are 0. The
        number of active slots is then read back from the device. In evaluation mode the positions
        are resized to the grid of the target.

        Raises:
            ValueError: If the target has another grid in training, ``active`` another shape than
                the slots, or an image no active slot.
        """
        grid = require_grid('MLPDecoder', self.grid, target, any_grid=not self.training)
        position = resized_positions(self.position, self.grid, grid)
        first, *others = self.hidden
        assert isinstance(first, nn.Linear)
        shape = (slots.shape[0], slots.shape[1])
        flat, places = gather_slots(slots, active)
        hidden = functional.linear(self.embed(flat), first.weight)[:, None] + first(position)
        hidden = functional.relu_(hidden)
        for layer in others:
            hidden = functional.relu_(layer(hidden))
        alpha = functional.linear(hidden, self.project.weight[-1:], self.project.bias[-1:])
        masks = scatter_slots(alpha.squeeze(-1), places, shape, fill=-math.inf).softmax(dim=1)
        # Slot by slot: one product over all of them would copy the hidden units.
        mixed = torch.zeros_like(hidden[: shape[0]])
        slot_hidden = scatter_slots(hidden, places, shape)
        for mask, units in zip(masks[..., None].unbind(1), slot_hidden.unbind(1), strict=True):
            mixed = torch.addcmul(mixed, mask, units)
        recon = functional.linear(mixed, self.project.weight[:-1], self.project.bias[:-1])
        return Decoded(recon, masks.unflatten(2, grid))
