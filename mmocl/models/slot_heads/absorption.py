import torch


def absorbing_saves(
    num_tokens: int,
    num_slots: int,
    num_heads: int,
    token_dim: int,
    slot_dim: int,
    num_updates: int,
    gradient: str,
) -> bool:
    """Say whether a linear map of the tokens is cheaper when the slots go through it instead.

    Keys ``x W^T`` meet queries in ``q (x W^T)^T = (q W) x^T``, and weighted means of values are
    ``a (x W^T) = (a x) W^T``: the map can act on all tokens, once, or on the slots, in every update
    and head by head. Multiply-adds of an image, with N tokens of C channels, K slots of width D, H
    heads and T updates, for keys as for values:

    - tokens mapped: ``N C D + T K N D``,
    - slots mapped: ``T (K C D + H K N C)``.

    With one head and C = D the slots are mapped if there are more tokens than T K. What is
    differentiated counts three times, as its backward pass takes twice the forward one: the map of
    the tokens, and the updates that the gradient mode differentiates. No update at all looks at the
    keys once.
    """
    num_updates = max(num_updates, 1)
    map_passes, update_passes = 1, num_updates
    if torch.is_grad_enabled():
        map_passes += 2
        update_passes += 2 * (num_updates if gradient == 'unrolled' else 1)
    pairs = update_passes * num_slots * num_tokens
    map_tokens = map_passes * num_tokens * token_dim * slot_dim + pairs * slot_dim
    map_slots = update_passes * num_slots * token_dim * slot_dim + num_heads * pairs * token_dim
    return map_slots < map_tokens
