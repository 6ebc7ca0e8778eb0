"""Weights of SPOT (gkakogeorgiou/spot, arXiv:2312.00648)."""

import re
from collections.abc import Mapping
from functools import partial

from convert_keys import Converted, Drop, Rename, convert_keys
from shared_rules import SLOT_ATTENTION, TOKEN_MLP, TRANSFORMER
from torch import Tensor

_ENCODER = (
    # A ViT has the same names in timm.
    Rename(
        r'encoder\.(cls_token|pos_embed|patch_embed\.proj\.(?:weight|bias)|blocks\.\d+\..+)',
        r'backbone.model.\1',
    ),
    Drop(r'encoder\.norm\.(?:weight|bias)', 'tokens are taken before the final norm'),
    Drop(r'encoder\.mask_token', "of DINOv2's pretraining"),
    Drop(
        r'second_encoder\..+',
        'the frozen encoder of the target: in mmocl the backbone gives the target, so attention '
        'masks are as released, masks of a transformer decoder are not',
    ),
)


def spot(state: Mapping[str, Tensor]) -> Converted:
    """Rename the weights of SPOT, with a transformer or an MLP decoder, its ViT included.

    With a transformer the model is that of ``configs/dinosaur/dinosaur_transformer_coco.py`` (or
    ``_voc``) with ``slot_head`` ``embed_channels=768, embed_out_channels=768, slot_dim=256,
    mlp_channels=1024, num_iters=3`` and ``decoder`` ``blocks='slate', num_layers=4, num_heads=6,
    orders=PATCH_ORDERS`` (all nine names; without them if there is one vector in ``bos_tokens``),
    and ``average_orders=True`` for its ``--eval_permutations all``. The released student starts
    from queries: ``initializer.type='LearnedSlots'``, ``slot_head.gradient='bilevel'``; 7 slots
    (COCO), 6 (VOC). A teacher has Gaussian slots.

    With an MLP it is that of ``configs/dinosaur/dinosaur_mlp_coco.py`` with the same slot head, and
    only if slots are not projected (``--use_slot_proj false``).

    The student's encoder is fine-tuned; it was trained to predict tokens of a second, frozen one,
    and its transformer is fed with them. These weights are dropped, as mmocl has one backbone.

    Raises:
        ValueError: If a name is unknown, such as ``mask_token`` and ``pos_embed`` of parallel
            decoding (``--cappa``); or if slots are projected in front of an MLP.
    """
    mlp = [int(match[1]) for key in state if (match := _MLP_LAYER.fullmatch(key))]
    rules: list[Rename | Drop] = [*_ENCODER, *SLOT_ATTENTION, *TOKEN_MLP]
    if mlp:
        if 'slot_proj.0.weight' in state:
            raise ValueError(
                'slot_proj, a linear map without bias and a layer norm, is in front of the MLP '
                'decoder; MLPDecoder has none such. Only models of --use_slot_proj false fit.'
            )
        rules += [
            Rename(r'dec\.pos_embed', 'decoder.position'),
            Rename(_MLP_LAYER.pattern, partial(_mlp_layer, last=max(mlp))),
            Drop(r'bos_tokens|input_proj\..+', 'not in use: an MLP decoder is not fed tokens'),
        ]
    else:
        rules += [
            Rename(r'bos_tokens', 'decoder.embedding.bos', _drop_dimension),
            Rename(r'input_proj\.0\.weight', 'decoder.embedding.project.weight'),
            Rename(r'input_proj\.1\.(weight|bias)', r'decoder.embedding.norm.\1'),
            Rename(r'slot_proj\.0\.weight', 'decoder.memory.0.weight'),
            Rename(r'slot_proj\.1\.(weight|bias)', r'decoder.memory.1.\1'),
            *TRANSFORMER,
        ]
    return convert_keys(state, rules)


_MLP_LAYER = re.compile(r'dec\.decoder\.(\d+)\.(weight|bias)')


def _mlp_layer(match: re.Match[str], last: int) -> str:
    """Every second layer is a ReLU."""
    index = int(match[1])
    layer = 'project' if index == last else f'hidden.{index // 2}'
    return f'decoder.{layer}.{match[2]}'


def _drop_dimension(bos_tokens: Tensor) -> Tensor:
    return bos_tokens[:, 0]
