from abc import ABCMeta, abstractmethod
from typing import Any

import torch
from jaxtyping import Float
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmocl.registry import MODELS
from mmocl.structures import Features, SlotOutput, SlotState


class SlotHead(BaseModule, metaclass=ABCMeta):
    """Base of all heads that refine slots iteratively; it owns the loop and its gradient.

    A head writes :meth:`project` (tokens to keys and values, once), :meth:`step` (one update) and,
    if it needs more than means, :meth:`complete` (the fields it adds to the initial state) and
    :meth:`to_slots`.

    ``gradient`` says how the iterations are differentiated:

    - ``'unrolled'``: through all of them (Slot Attention, `arXiv:2006.15055
      <https://arxiv.org/abs/2006.15055>`_).
    - ``'implicit'``: through the last one only, its input detached (I-SA, `arXiv:2207.00787
      <https://arxiv.org/abs/2207.00787>`_). The initializer gets no gradient and is frozen.
    - ``'bilevel'``: through the last one, and straight through to the initial state (BO-QSA,
      `arXiv:2210.08990 <https://arxiv.org/abs/2210.08990>`_).

    All three have the same forward values. Iterations whose gradient is discarded run under
    ``no_grad``: same gradients as detaching, less memory. Deviation: ``num_iters`` counts every
    update, the last one included, as BO-QSA's code does; I-SA and BO-QSA's Algorithm 1 do one more.

    Args:
        initializer: Where slots start; a config or a module.
        in_channels: Channels C of the tokens.
        slot_dim: Slot width D; that of the tokens if not given.
        num_iters: Number of updates.
        gradient: See above.
        embed_channels: Hidden width of a layer norm and two-layer MLP in front of the head, as in
            Slot Attention and DINOSAUR; None leaves the tokens as they are.
        init_cfg: MMEngine's initialisation config.
    """

    def __init__(
        self,
        initializer: dict | nn.Module,
        in_channels: int,
        slot_dim: int | None = None,
        num_iters: int = 3,
        gradient: str = 'unrolled',
        embed_channels: int | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if gradient not in ('unrolled', 'implicit', 'bilevel'):
            raise ValueError(
                f"gradient must be 'unrolled', 'implicit' or 'bilevel', got {gradient!r}."
            )
        slot_dim = in_channels if slot_dim is None else slot_dim
        self.slot_dim = slot_dim
        self.num_iters = num_iters
        self.gradient = gradient
        self.initializer: Any = initializer
        if isinstance(initializer, dict):
            self.initializer = MODELS.build({'slot_dim': slot_dim, **initializer})
        if gradient == 'implicit':
            # It never gets a gradient; DDP would wait for one.
            self.initializer.requires_grad_(False)
        self.embed: nn.Module = nn.Identity()
        self.token_dim = in_channels
        if embed_channels is not None:
            self.token_dim = slot_dim
            self.embed = nn.Sequential(
                nn.LayerNorm(in_channels),
                nn.Linear(in_channels, embed_channels),
                nn.ReLU(inplace=True),
                nn.Linear(embed_channels, slot_dim),
            )

    @abstractmethod
    def project(
        self, tokens: Float[Tensor, 'B N C']
    ) -> tuple[Float[Tensor, 'B N D'], Float[Tensor, 'B N D']]:
        """Map tokens to keys and values."""

    @abstractmethod
    def step(
        self, state: SlotState, keys: Float[Tensor, 'B N D'], values: Float[Tensor, 'B N D']
    ) -> tuple[SlotState, Float[Tensor, 'B K N']]:
        """Update the state once; also return the attention, which sums to one over the slots."""

    def complete(self, state: SlotState) -> SlotState:
        """Add the fields of this head to the state of the initializer."""
        return state

    def to_slots(self, state: SlotState) -> Float[Tensor, 'B K D']:
        """Turn the last state into slots."""
        return state.mean

    def forward(
        self,
        features: Features,
        num_slots: int | None = None,
        num_iters: int | None = None,
        noise: Float[Tensor, 'B K D'] | None = None,
    ) -> SlotOutput:
        """Find the slots of a batch.

        Args:
            features: Tokens of the images.
            num_slots: Another number of slots, where the initializer allows it.
            num_iters: Another number of updates.
            noise: Passed to the initializer in place of its random draws.

        Raises:
            ValueError: If there are more slots than tokens, or no iteration is asked for.
        """
        num_iters = self.num_iters if num_iters is None else num_iters
        if num_iters < 1:
            raise ValueError(f'num_iters must be at least 1, got {num_iters}.')
        extra = {} if noise is None else {'noise': noise}
        init = self.complete(self.initializer(features, num_slots, **extra))
        num_slots, num_tokens = init.mean.shape[1], features.tokens.shape[1]
        if num_slots > num_tokens:
            raise ValueError(
                f'{num_slots} slots cannot share {num_tokens} tokens; '
                f'use at most as many slots as tokens (grid {features.grid}).'
            )
        keys, values = self.project(self.embed(features.tokens))
        state = init
        free_iters = num_iters - 1
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.gradient == 'unrolled'):
            for _ in range(free_iters):
                state, _ = self.step(state, keys, values)
        if self.gradient == 'implicit':
            state = state.combine(Tensor.detach)
        elif self.gradient == 'bilevel' and free_iters:
            state = state.combine(_straight_through, init)
        state, attn = self.step(state, keys, values)
        return SlotOutput(self.to_slots(state), attn, state, init)


def _straight_through(value: Tensor, source: Tensor) -> Tensor:
    """Return the value of ``value`` with the gradient of ``source``."""
    return value.detach() + source - source.detach()
