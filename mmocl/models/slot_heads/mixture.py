"""What the heads that fit a mixture share: inputs, responsibilities in logs, masks, pruning."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mmocl.models.layers import (
    at_least_float32,
    diagonal_log_density,
    token_variance,
    variance_floor,
)
from mmocl.structures import SlotInputs, SlotState


@dataclass(frozen=True, kw_only=True)
class MixtureInputs(SlotInputs):
    """Keys and values in float32 at least, and what every update needs to know of their spread.

    ``floor`` is added to variances; ``token_var`` is the variance of the image's points, where a
    prior is made of it.
    """

    floor: Float[Tensor, 'B 1 1']
    token_var: Float[Tensor, 'B 1 D'] | None = None


def as_mixture_inputs(
    inputs: SlotInputs, min_var: float, space: str = 'key', with_token_var: bool = False
) -> MixtureInputs:
    """Add the spread of the keys, or of the values with ``space='value'``."""
    with torch.autocast(inputs.keys.device.type, enabled=False):
        keys, values = at_least_float32(inputs.keys), at_least_float32(inputs.values)
        points, mask = keys if space == 'key' else values, inputs.token_mask
        return MixtureInputs(
            keys,
            values,
            mask,
            inputs.slot_mask,
            inputs.absorbed,
            floor=variance_floor(points, mask, min_var),
            token_var=token_variance(points, mask) if with_token_var else None,
        )


def as_mixture(state: SlotState, log_var: float) -> SlotState:
    """Add variances and equal weights to a state that has none, in float32 at least."""
    state = state.combine(at_least_float32)
    mean = state.mean
    return SlotState(
        mean,
        torch.full_like(mean, log_var) if state.log_var is None else state.log_var,
        mean.new_full(mean.shape[:2], -math.log(mean.shape[1]))
        if state.log_weight is None
        else state.log_weight,
    )


def find_responsibilities(
    keys: Float[Tensor, 'B N D'],
    mean: Float[Tensor, 'B K D'],
    log_var: Float[Tensor, 'B K D'],
    log_weight: Float[Tensor, 'B K'],
    logit_scale: float,
    slot_mask: Bool[Tensor, 'B K'] | None,
) -> Float[Tensor, 'B K N']:
    """Return the log of every Gaussian's share of every token, the E-step of a mixture."""
    density = diagonal_log_density(keys, mean, log_var, wide=True)
    logits = logit_scale * density + log_weight[:, :, None]
    # Only the differences between slots need the digits of float64.
    return compete(logits, slot_mask).to(keys.dtype)


def compete(
    logits: Float[Tensor, 'B K N'], slot_mask: Bool[Tensor, 'B K'] | None
) -> Float[Tensor, 'B K N']:
    """Log-softmax over the slots; masked slots get a log that is finite and exponentiates to 0.

    Minus infinity would turn the masked slot's own normalisation over tokens into NaN. The result
    may be float64 and fits into float32.
    """
    lowest = torch.finfo(torch.float32).min / 2
    if slot_mask is not None:
        logits = logits.masked_fill(~slot_mask[:, :, None], lowest)
    return logits.log_softmax(dim=1).clamp_min(lowest)


def share(
    log_attn: Float[Tensor, 'B K N'], token_mask: Bool[Tensor, 'B N'] | None
) -> tuple[Float[Tensor, 'B K N'], Float[Tensor, 'B K']]:
    """Normalise responsibilities over the tokens.

    In logs, so that a slot without tokens keeps finite values: its shares are those of the tokens
    it is nearest to, its count is a very negative log.

    Returns:
        Shares of every slot's tokens, which sum to one over them, and the log of the slot's count
        of tokens.
    """
    if token_mask is not None:
        # Below the value of a masked slot, which so keeps to the tokens that exist.
        lowest = torch.finfo(log_attn.dtype).min
        log_attn = log_attn.masked_fill(~token_mask[:, None], lowest)
    return log_attn.softmax(dim=2), log_attn.logsumexp(dim=2)


def hide(
    attn: Float[Tensor, 'B K N'], token_mask: Bool[Tensor, 'B N'] | None
) -> Float[Tensor, 'B K N']:
    """Take the attention of masked tokens away."""
    return attn if token_mask is None else attn * token_mask[:, None]


def restrict(attn: Float[Tensor, 'B K N'], active: Bool[Tensor, 'B K']) -> Float[Tensor, 'B K N']:
    """Give the attention of inactive slots to the active ones, token by token."""
    log_attn = attn.clamp_min(torch.finfo(attn.dtype).tiny).log()
    return compete(log_attn, active).exp() * attn.any(dim=1, keepdim=True)


def relevant(log_weight: Float[Tensor, 'B K'], threshold: float) -> Bool[Tensor, 'B K'] | None:
    """Find the slots whose mixing weight is above a threshold (None, all, for a threshold of 0).

    Automatic relevance determination of PSA, `arXiv:2406.07141
    <https://arxiv.org/abs/2406.07141>`_, Eq. 7. The heaviest slot of an image always stays, so that
    there is something to decode.
    """
    if threshold == 0:
        return None
    slots = torch.arange(log_weight.shape[1], device=log_weight.device)
    return (log_weight.exp() > threshold) | (slots == log_weight.argmax(dim=1, keepdim=True))


def check_options(prune_threshold: float, min_var: float, logit_scale: float) -> None:
    """Check the numbers that all mixture heads take.

    Raises:
        ValueError: If one is out of range.
    """
    if not 0 <= prune_threshold < 1:
        raise ValueError(f'prune_threshold must be in [0, 1), got {prune_threshold}.')
    if not 0 <= min_var < math.inf:
        raise ValueError(f'min_var must be finite and not negative, got {min_var}.')
    if not 0 < logit_scale < math.inf:
        raise ValueError(f'logit_scale must be finite and positive, got {logit_scale}.')
