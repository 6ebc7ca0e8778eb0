"""Weights of SLATE (singhgautam/slate, arXiv:2110.11405)."""

from collections.abc import Mapping

from convert_keys import Converted, convert_keys
from shared_rules import SLOT_ATTENTION, TOKEN_MLP, TOKENS, TRANSFORMER
from torch import Tensor


def slate(state: Mapping[str, Tensor]) -> Converted:
    """Rename the weights of SLATE.

    The model is that of ``configs/slate/*.py`` with ``data_preprocessor`` as there (images in
    [0, 1]). Widths that its ``train.py`` has unless told otherwise, for 64x64 images: ``tokenizer``
    ``vocab_size=1024, channels=64``; ``backbone.channels=192``; ``slot_head`` ``slot_dim=192,
    embed_channels=192, mlp_channels=192, num_iters=3, num_heads=1``, ``initializer.num_slots=3``;
    ``decoder`` ``grid=(16, 16), channels=192, num_layers=4, num_heads=4``. If its ``slot_size``
    and ``d_model`` differ, ``slot_head.embed_channels`` and ``embed_out_channels`` are ``d_model``.

    It differs in that it draws tokens in the test too, where mmocl takes the likeliest ones; in
    training slots and decoder share one draw of the dropout (0.1).

    Raises:
        ValueError: If a name is unknown.
    """
    return convert_keys(state, [*SLOT_ATTENTION, *TOKEN_MLP, *TRANSFORMER, *TOKENS])
