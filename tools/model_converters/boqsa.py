"""Weights of BO-QSA (YuLiu-LY/BO-QSA, arXiv:2210.08990)."""

import re
from collections.abc import Mapping

from convert_keys import Converted, Drop, Rename, convert_keys
from shared_rules import SLOT_ATTENTION, TOKENS, TRANSFORMER
from torch import Tensor


def boqsa(state: Mapping[str, Tensor]) -> Converted:
    """Rename the weights of BO-QSA's model with a transformer, or with a mixture decoder.

    With a transformer the model is that of ``configs/boqsa/boqsa_transformer_shapestacks.py``,
    which has the released widths; set ``slot_head.initializer.num_slots`` (3 for Birds, 6 for
    COCO).

    With a mixture decoder it is that of ``configs/boqsa/boqsa_released_conv_sprites.py`` with, for
    128x128 images in [-1, 1]: ``backbone`` ``channels=64, strides=(2, 1, 1, 1), kernel_size=5``;
    ``slot_head`` ``slot_dim=64, embed_channels=128, mlp_channels=128``, ``initializer.num_slots=8``
    (ShapeStacks; 11 for CLEVRTEX); ``decoder`` ``channels=64, broadcast_size=(8, 8),
    strides=(2, 2, 2, 2, 1)``.

    Models whose slots start from a running mean or k-means (``--use_post_cluster``) need
    ``slot_head.initializer.type='BufferSlots'`` (and its arguments), those from a Gaussian
    (``--init_method shared_gaussian``) ``'GaussianSlots'``. The original slot attention
    (``train_base_sa.py``) has other names, which are refused.

    It differs in that a transformer's tokens are drawn in the test too, where mmocl takes the
    likeliest ones. ``eps=1.0, eps_mode='sum'`` have to stay as in these configs; ``drop_path`` and
    the noise on queries matter in training only.

    Raises:
        ValueError: If a name is unknown.
    """
    rules: list[Rename | Drop] = [
        Rename(r'(?:encoder|backbone)\.conv\.(\d+)\.0\.(weight|bias)', _encoder_layer),
        Rename(r'slot_attn\.pos_emb\.dense\.(weight|bias)', r'backbone.position.project.\1'),
        Rename(r'slot_attn\.mlp\.([013])\.(weight|bias)', r'slot_head.embed.\1.\2'),
        Rename(r'decoder\.pos_emb\.dense\.(weight|bias)', r'decoder.position.project.\1'),
        # Each in a block of its own; the last block has one more behind it.
        Rename(r'decoder\.conv\.(\d+)\.0\.conv\.0\.(weight|bias)', _decoder_layer),
        Rename(r'decoder\.conv\.(\d+)\.1\.(weight|bias)', _decoder_last),
        Drop(
            r'(?:slot_attn|decoder)\.pos_emb\.grid', 'coordinates, which mmocl makes at every call'
        ),
    ]
    if 'post_cluster' in state:
        rules += [
            Rename('post_cluster', 'slot_head.initializer.slots'),
            Drop(
                r'slot_attn\.(?:slots_init\.weight|slot_mu|slot_log_sigma)',
                'not in use: slots start from post_cluster',
            ),
        ]
    return convert_keys(state, [*rules, *SLOT_ATTENTION, *TRANSFORMER, *TOKENS])


def _encoder_layer(match: re.Match[str]) -> str:
    return f'backbone.layers.{2 * int(match[1])}.{match[2]}'


def _decoder_layer(match: re.Match[str]) -> str:
    return f'decoder.layers.{2 * int(match[1])}.{match[2]}'


def _decoder_last(match: re.Match[str]) -> str:
    return f'decoder.layers.{2 * int(match[1]) + 2}.{match[2]}'
