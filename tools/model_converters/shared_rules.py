"""Rules for the parts that the code of SLATE, BO-QSA and SPOT has in common."""

import re

from convert_keys import Drop, Rename
from torch import Tensor

_MAPS = {'q': 'query', 'k': 'key', 'v': 'value', 'o': 'out'}
_PARTS = {'self_attn': 'self', 'encoder_decoder_attn': 'cross', 'ffn': 'ffn'}


def _add_batch(weight: Tensor) -> Tensor:
    return weight[None]


#: Slot attention and where its slots start.
SLOT_ATTENTION = (
    Rename(
        r'slot_attn\.slot_attention\.norm_(?:inputs|feature)\.(weight|bias)',
        r'slot_head.norm_tokens.\1',
    ),
    Rename(r'slot_attn\.slot_attention\.norm_slots\.(weight|bias)', r'slot_head.norm_slots.\1'),
    Rename(r'slot_attn\.slot_attention\.norm_mlp\.(weight|bias)', r'slot_head.update.norm.\1'),
    Rename(
        r'slot_attn\.slot_attention\.project_([qkv])\.weight',
        lambda match: f'slot_head.to_{_MAPS[match[1]]}.weight',
    ),
    Rename(
        r'slot_attn\.slot_attention\.(gru\.(?:weight|bias)_[ih]h|mlp\.[02]\.(?:weight|bias))',
        r'slot_head.update.\1',
    ),
    Rename(r'slot_attn\.slot_mu', 'slot_head.initializer.mean'),
    Rename(r'slot_attn\.slot_log_sigma', 'slot_head.initializer.log_scale'),
    Rename(r'slot_attn\.slots_init\.weight', 'slot_head.initializer.queries', _add_batch),
)

#: Layer norm and MLP in front of it, in SLATE and SPOT.
TOKEN_MLP = (
    Rename(r'slot_attn\.layer_norm\.(weight|bias)', r'slot_head.embed.0.\1'),
    Rename(r'slot_attn\.mlp\.0\.(weight|bias)', r'slot_head.embed.1.\1'),
    Rename(r'slot_attn\.mlp\.2\.(weight|bias)', r'slot_head.embed.3.\1'),
)


def _block_norm(match: re.Match[str]) -> str:
    return f'decoder.blocks.{match[1]}.norm_{_PARTS[match[2]]}.{match[3]}'


def _block_map(match: re.Match[str]) -> str:
    return f'decoder.blocks.{match[1]}.{_PARTS[match[2]]}_attn.to_{_MAPS[match[3]]}.weight'


#: Blocks of the transformer decoder; SPOT calls it ``dec``, in older files as the others do.
TRANSFORMER = (
    Rename(
        r'(?:tf_)?dec\.blocks\.(\d+)\.(self_attn|encoder_decoder_attn|ffn)_layer_norm\.(weight|bias)',
        _block_norm,
    ),
    Rename(
        r'(?:tf_)?dec\.blocks\.(\d+)\.(self_attn|encoder_decoder_attn)\.proj_([qkvo])\.weight',
        _block_map,
    ),
    Rename(
        r'(?:tf_)?dec\.(blocks\.\d+\.ffn\.[02]\.(?:weight|bias))',
        r'decoder.\1',
    ),
    Rename(r'(?:tf_)?dec\.layer_norm\.(weight|bias)', r'decoder.norm.\1'),
    Drop(
        r'(?:tf_)?dec\.blocks\.\d+\.self_attn_mask',
        'the causal mask of self-attention, which mmocl does not store',
    ),
)

#: The dVAE, and how the decoder embeds and predicts its tokens, in SLATE and BO-QSA.
TOKENS = (
    Rename(r'dvae\.(encoder|decoder)\.(\d+)\.m\.weight', r'tokenizer.\1.\2.0.weight'),
    # These two are convolutions without a norm, the others norms without a name of their own.
    Rename(r'dvae\.(encoder\.7|decoder\.11)\.(weight|bias)', r'tokenizer.\1.\2'),
    Rename(r'dvae\.(encoder|decoder)\.(\d+)\.(weight|bias)', r'tokenizer.\1.\2.1.\3'),
    Rename(r'positional_encoder\.pe', 'decoder.embedding.position'),
    Rename(r'dictionary\.dictionary\.weight', 'decoder.embedding.table.weight'),
    Rename(r'slot_proj\.weight', 'decoder.memory.weight'),
    Rename(r'out\.weight', 'decoder.project.weight'),
)
