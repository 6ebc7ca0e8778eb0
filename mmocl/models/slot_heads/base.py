from abc import ABCMeta, abstractmethod
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Bool, Float
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmocl.models.initializers import SlotInitializer
from mmocl.models.layers import require
from mmocl.models.slot_heads.checks import check_mask, non_negative, require_num_slots
from mmocl.models.slot_heads.mixture import restrict
from mmocl.registry import MODELS
from mmocl.structures import Features, SlotInputs, SlotOutput, SlotState


class SlotHead(BaseModule, metaclass=ABCMeta):
    """Base of all heads that refine slots iteratively; it owns the loop and its gradient.

    A head writes :meth:`project` (tokens to keys and values, once), :meth:`step` (one update) and,
    if it needs more than means, :meth:`complete` (the fields it adds to the initial state),
    :meth:`to_slots` and :meth:`find_active`. :meth:`prepare` is there for what all updates share.

    ``gradient`` says how the iterations are differentiated:

    - ``'unrolled'``: through all of them (Slot Attention, `arXiv:2006.15055
      <https://arxiv.org/abs/2006.15055>`_).
    - ``'implicit'``: through the last one only, its input detached (I-SA, `arXiv:2207.00787
      <https://arxiv.org/abs/2207.00787>`_). The initializer gets no gradient and is frozen.
    - ``'bilevel'``: through the last one, and straight through to the initial state (BO-QSA,
      `arXiv:2210.08990 <https://arxiv.org/abs/2210.08990>`_).

    All three have the same forward values. Iterations whose gradient is discarded run under
    ``no_grad``: same gradients as detaching, less memory. ``num_iters`` counts every update, the
    last one included, as BO-QSA's code does; I-SA and BO-QSA's Algorithm 1 do one more, which is
    ``extra_step=True``. For half precision use autocast: heads with densities leave it for their
    sums, which a module of half parameters cannot.

    Args:
        initializer: Where slots start; a config or a module.
        in_channels: Channels C of the tokens.
        slot_dim: Slot width D; that of the tokens if not given.
        num_iters: Number of updates; 0 returns the initial slots.
        gradient: See above.
        extra_step: Do one update more than ``num_iters``, unless that is 0.
        embed_channels: Hidden width of a layer norm and two-layer MLP in front of the head, as in
            Slot Attention and DINOSAUR; None leaves the tokens as they are.
        embed_out_channels: Width of the tokens behind that MLP; ``slot_dim`` if not given.
        init_cfg: MMEngine's initialisation config.
    """

    #: Whether ``state`` holds variances and weights in the space of the slots, as an aggregate
    #: posterior needs them.
    has_slot_posterior: bool = False

    def __init__(
        self,
        initializer: dict | SlotInitializer,
        in_channels: int,
        slot_dim: int | None = None,
        num_iters: int = 3,
        gradient: str = 'unrolled',
        extra_step: bool = False,
        embed_channels: int | None = None,
        embed_out_channels: int | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if embed_out_channels is not None and embed_channels is None:
            raise ValueError(
                f'embed_out_channels={embed_out_channels} is the width behind an MLP that is not '
                'there; set embed_channels too.'
            )
        if gradient not in ('unrolled', 'implicit', 'bilevel'):
            raise ValueError(
                f"gradient must be 'unrolled', 'implicit' or 'bilevel', got {gradient!r}."
            )
        slot_dim = in_channels if slot_dim is None else slot_dim
        self.in_channels = in_channels
        self.slot_dim = slot_dim
        self.num_iters = non_negative(num_iters)
        self.gradient = gradient
        self.extra_step = extra_step
        self.initializer: Any = initializer
        if isinstance(initializer, dict):
            require_num_slots(initializer)
            self.initializer = MODELS.build({'slot_dim': slot_dim, **initializer})
        if not isinstance(self.initializer, SlotInitializer):
            raise ValueError(
                f'initializer must be a SlotInitializer, got {type(self.initializer).__name__}.'
            )
        if self.initializer.slot_dim != slot_dim:
            raise ValueError(
                f'initializer gives slots of {self.initializer.slot_dim} channels, but slot_dim is '
                f'{slot_dim}.'
            )
        if gradient == 'implicit':
            # It never gets a gradient; DDP would wait for one.
            self.initializer.requires_grad_(False)
        self.embed: nn.Module = nn.Identity()
        self.token_dim = in_channels
        if embed_channels is not None:
            self.token_dim = slot_dim if embed_out_channels is None else embed_out_channels
            self.embed = nn.Sequential(
                nn.LayerNorm(in_channels),
                nn.Linear(in_channels, embed_channels),
                nn.ReLU(inplace=True),
                nn.Linear(embed_channels, self.token_dim),
            )

    @abstractmethod
    def project(
        self, tokens: Float[Tensor, 'B N C']
    ) -> tuple[Float[Tensor, 'B N D'], Float[Tensor, 'B N D']]:
        """Map tokens to keys and values."""

    def prepare(
        self,
        features: Features,
        slot_mask: Bool[Tensor, 'B K'] | None,
        num_slots: int,
        num_updates: int,
    ) -> SlotInputs:
        """Collect what all updates look at and none changes: keys, values and masks.

        Args:
            features: Tokens as :meth:`project` takes them, and their mask.
            slot_mask: True where a slot takes part.
            num_slots: Number of slots K.
            num_updates: How often :meth:`step` will look at the result; 0 means for the attention
                of the initial slots only.
        """
        return SlotInputs(*self.project(features.tokens), features.mask, slot_mask)

    @abstractmethod
    def step(
        self, state: SlotState, inputs: SlotInputs
    ) -> tuple[SlotState, Float[Tensor, 'B K N']]:
        """Update the state once; also return the attention, which sums to one over the slots."""

    def complete(self, state: SlotState) -> SlotState:
        """Add the fields of this head to the state of the initializer."""
        return state

    def to_slots(self, state: SlotState) -> Float[Tensor, 'B K D']:
        """Turn the last state into slots."""
        return state.mean

    def find_active(self, state: SlotState) -> Bool[Tensor, 'B K'] | None:
        """Say which slots are worth decoding (None: all)."""
        return None

    def forward(
        self,
        features: Features,
        num_slots: int | None = None,
        num_iters: int | None = None,
        noise: Float[Tensor, '...'] | None = None,
        slot_mask: Bool[Tensor, '...'] | None = None,
        keep_steps: bool = False,
    ) -> SlotOutput:
        """Find the slots of a batch.

        Args:
            features: Tokens of the images; masked ones win nothing and get no attention.
            num_slots: Another number of slots, where the initializer allows it.
            num_iters: Another number of updates; 0 returns the initial slots and their attention.
            noise: Passed to the initializer in place of its random draws.
            slot_mask: True where a slot takes part, for images with fewer slots than others.
            keep_steps: Return what every earlier update gave too, in ``SlotOutput.steps``.

        Raises:
            ValueError: If there are more slots than tokens, fewer than 0 iterations, tokens of
                another width than ``in_channels``, masks of another shape, tokens that are not
                finite, or an image without unmasked tokens or slots. On a GPU and in compiled
                graphs the last two are RuntimeErrors that come later, see
                :func:`~mmocl.models.layers.require`.
        """
        num_iters = self.num_iters if num_iters is None else non_negative(num_iters)
        features = self._checked(features)
        features = replace(features, tokens=self.embed(features.tokens), layers=None)
        learns = torch.is_grad_enabled() and self.gradient != 'implicit'
        with torch.set_grad_enabled(learns):
            init = self.complete(self.initializer(features, num_slots, noise))
        num_slots, num_tokens = init.mean.shape[1], features.tokens.shape[1]
        if num_slots > num_tokens:
            raise ValueError(
                f'{num_slots} slots cannot share {num_tokens} tokens; '
                f'use at most as many slots as tokens (grid {features.grid}).'
            )
        if slot_mask is not None:
            check_mask('slot_mask', slot_mask, init.mean.shape[:2])
        num_updates = num_iters + self.extra_step if num_iters else 0
        inputs = self.prepare(features, slot_mask, num_slots, num_updates)
        steps: list[tuple[SlotState, Tensor]] | None = [] if keep_steps else None
        output = self._output(*self._iterate(init, inputs, num_updates, steps), init, slot_mask)
        if steps is not None:
            earlier = tuple(self._output(*step, init, slot_mask) for step in steps)
            output = replace(output, steps=earlier)
        if self.training:
            self.initializer.observe(output.state.mean.detach(), output.active)
        return output

    def _output(
        self,
        state: SlotState,
        attn: Float[Tensor, 'B K N'],
        init: SlotState,
        slot_mask: Bool[Tensor, 'B K'] | None,
    ) -> SlotOutput:
        """Turn a state into slots, and leave out those that are not worth decoding."""
        active = self.find_active(state)
        if active is not None:
            active = active if slot_mask is None else active & slot_mask
            attn = restrict(attn, active)
        active = slot_mask if active is None else active
        return SlotOutput(self.to_slots(state), attn, state, init, active)

    def _iterate(
        self,
        init: SlotState,
        inputs: SlotInputs,
        num_updates: int,
        steps: list[tuple[SlotState, Tensor]] | None,
    ) -> tuple[SlotState, Float[Tensor, 'B K N']]:
        """Update the state ``num_updates`` times, differentiated as ``gradient`` says.

        What the updates before the last one give is appended to ``steps``.
        """
        if num_updates == 0:
            return init, self.step(init, inputs)[1]
        state = init
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.gradient == 'unrolled'):
            for _ in range(num_updates - 1):
                state, attn = self.step(state, inputs)
                if steps is not None:
                    steps.append((state, attn))
        if self.gradient == 'implicit':
            state = state.combine(Tensor.detach)
        elif self.gradient == 'bilevel' and num_updates > 1:
            state = state.combine(_straight_through, init)
        return self.step(state, inputs)

    def _checked(self, features: Features) -> Features:
        """Refuse tokens that would give slots without meaning; blank the masked ones."""
        tokens = features.tokens
        if tokens.shape[2] != self.in_channels:
            raise ValueError(
                f'{type(self).__name__} was built for tokens of {self.in_channels} channels, '
                f'got {tokens.shape[2]}; set in_channels, or the out_channels of the backbone.'
            )
        if features.mask is not None:
            check_mask('features.mask', features.mask, tokens.shape[:2])
            # Whatever padding holds must not reach means that are taken for precision's sake.
            tokens = tokens.masked_fill(~features.mask[:, :, None], 0)
        # One reduction over the tokens; NaN and infinity both survive the sum.
        require(
            tokens.detach().sum(dtype=torch.float32).isfinite(),
            'The tokens hold NaN or infinite values; expected finite ones. Check weights, inputs '
            'and precision.',
            lambda: f'({(~tokens.isfinite()).sum().item()} of {tokens.numel()} are not finite.)',
        )
        return replace(features, tokens=tokens)


def _straight_through(value: Tensor, source: Tensor) -> Tensor:
    """Return the value of ``value`` with the gradient of ``source``."""
    # In brackets, so that exactly zero is added.
    return value.detach() + (source - source.detach())
