def absorbing_saves(
    num_tokens: int,
    num_slots: int,
    num_heads: int,
    token_dim: int,
    slot_dim: int,
    num_updates: int,
) -> bool:
    """Say whether a linear map of the tokens is cheaper when the slots go through it instead.

    Keys ``x W^T`` meet queries in ``q (x W^T)^T = (q W) x^T``, and weighted means of values are
    ``a (x W^T) = (a x) W^T``: the map can act on all tokens, once, or on the slots, in every update
    and head by head. Multiply-adds of an image, with N tokens of C channels, K slots of width D, H
    heads and T updates, for keys as for values:

    - tokens mapped: ``N C D + T K N D``,
    - slots mapped: ``T (K C D + H K N C)``.

    With one head and C = D the slots are mapped if there are more tokens than T K. A backward pass
    doubles each part and so changes nothing. No update at all looks at the keys once.
    """
    num_updates = max(num_updates, 1)
    pairs = num_updates * num_slots * num_tokens
    map_tokens = num_tokens * token_dim * slot_dim + pairs * slot_dim
    map_slots = num_updates * num_slots * token_dim * slot_dim + num_heads * pairs * token_dim
    return map_slots < map_tokens
