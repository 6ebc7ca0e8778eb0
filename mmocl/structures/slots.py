"""What the stages of a slot model hand to each other.

Axis letters of the whole package: B batch, K slots, N tokens, D slot width, C channels,
H W image height and width, h w token (or mask) grid.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import TypedDict

from jaxtyping import Bool, Float, Int64
from torch import Tensor


@dataclass(frozen=True)
class Features:
    """Tokens of a backbone, row-major over ``grid`` (h, w).

    ``mask`` is True where a token exists (None: everywhere), for images that were padded.
    ``layers`` holds the tokens of several layers of a backbone, ``tokens`` being those of the last
    (None: there is one layer).
    """

    tokens: Float[Tensor, 'B N C']
    grid: tuple[int, int]
    mask: Bool[Tensor, 'B N'] | None = None
    layers: tuple[Tensor, ...] | None = None


@dataclass(frozen=True)
class Codes:
    """Discrete tokens of a tokenizer, row-major over ``grid`` (h, w).

    In training ``recon`` is what the tokenizer itself makes of the image, without any slots, and
    ``losses`` what it is trained by.
    """

    ids: Int64[Tensor, 'B N']
    grid: tuple[int, int]
    recon: Float[Tensor, 'B 3 H W'] | None = None
    losses: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class SlotState:
    """What the slot iterations update; a head fills only the fields it uses.

    ``log_var`` is a diagonal log-variance, ``log_weight`` the log of mixing weights that sum to
    one over the slots.
    """

    mean: Float[Tensor, 'B K D']
    log_var: Float[Tensor, 'B K D'] | None = None
    log_weight: Float[Tensor, 'B K'] | None = None

    def combine(self, fn: Callable[..., Tensor], *others: SlotState) -> SlotState:
        """Apply ``fn`` field by field, to the fields that exist."""
        values = {}
        for f in fields(self):
            mine = getattr(self, f.name)
            if mine is not None:
                values[f.name] = fn(mine, *(getattr(other, f.name) for other in others))
        return SlotState(**values)


@dataclass(frozen=True)
class SlotInputs:
    """What every slot iteration looks at: made once, the same in every step.

    Both masks are True where a token or slot takes part (None: all do). ``absorbed`` is True where
    a head applies the linear map of keys or values to its slots: tokens (B, N, C) then stand in
    their place.
    """

    keys: Float[Tensor, 'B N D']
    values: Float[Tensor, 'B N E']
    token_mask: Bool[Tensor, 'B N'] | None = None
    slot_mask: Bool[Tensor, 'B K'] | None = None
    absorbed: bool = False


class SlotOptions(TypedDict, total=False):
    """What may be chosen anew for every call of a slot head, see ``SlotHead.forward``."""

    num_slots: int | None
    num_iters: int | None
    noise: Tensor | None
    keep_steps: bool


@dataclass(frozen=True)
class SlotOutput:
    """Result of a slot head.

    ``attn`` sums to one over the slots for every token (before any normalisation over tokens).
    ``init`` is the state before the first iteration. ``active`` is True for the slots that are
    decoded and scored (None: all); the attention of the others is zero. ``steps`` holds what the
    earlier updates gave, the first one first (None: not asked for).
    """

    slots: Float[Tensor, 'B K D']
    attn: Float[Tensor, 'B K N']
    state: SlotState
    init: SlotState
    active: Bool[Tensor, 'B K'] | None = None
    steps: tuple[SlotOutput, ...] | None = None


@dataclass(frozen=True)
class Target:
    """What the decoder has to reconstruct, and the losses that its maker brings along.

    ``grid`` (h, w) is that of values which are tokens, row-major (None: not known, or an image).
    """

    values: Tensor
    losses: dict[str, Tensor] = field(default_factory=dict)
    grid: tuple[int, int] | None = None


@dataclass(frozen=True)
class Decoded:
    """Reconstruction in the target's shape; ``masks`` sum to one over the slots."""

    recon: Tensor
    masks: Float[Tensor, 'B K h w'] | None = None
    slot_recons: Tensor | None = None


@dataclass(frozen=True)
class ModelOutput:
    """Everything a loss may look at."""

    features: Features
    slots: SlotOutput
    target: Target
    decoded: Decoded
