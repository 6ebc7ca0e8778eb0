import torch
from jaxtyping import Float
from torch import Tensor

from mmocl.structures import Features, SlotOutput

TOKEN_MAPS = ('tokens', 'slots', 'attn')


def token_map(features: Features, found: SlotOutput | None, kind: str) -> Float[Tensor, 'B C h w']:
    """Draw what a model of slots found on the grid of its tokens.

    Args:
        features: Tokens of the backbone.
        found: Result of the slot head; not needed for ``'tokens'``.
        kind: ``'tokens'``; ``'slots'``: at every token the slots, mixed by its attention;
            ``'attn'``: the attention, a channel a slot.
    """
    if kind == 'tokens':
        values = features.tokens.transpose(1, 2)
    elif kind == 'slots':
        assert found is not None
        values = torch.einsum('bkd,bkn->bdn', found.slots, found.attn)
    else:
        assert found is not None
        assert kind == 'attn'
        values = found.attn
    return values.unflatten(2, features.grid)
