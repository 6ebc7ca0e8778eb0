"""Golden names of weights as regular expressions, and the released names.

Read in the code of singhgautam/slate, YuLiu-LY/BO-QSA and gkakogeorgiou/spot, independently of the
rules of ``tools/model_converters``.
"""

import re

BLOCKS = {
    r'layers\.(\d+)\.norm1\.': r'DEC.blocks.\1.self_attn_layer_norm.',
    r'layers\.(\d+)\.norm2\.': r'DEC.blocks.\1.encoder_decoder_attn_layer_norm.',
    r'layers\.(\d+)\.norm3\.': r'DEC.blocks.\1.ffn_layer_norm.',
    r'layers\.(\d+)\.self_attn\.to_(.)': r'DEC.blocks.\1.self_attn.proj_\2',
    r'layers\.(\d+)\.cross_attn\.to_(.)': r'DEC.blocks.\1.encoder_decoder_attn.proj_\2',
    r'layers\.(\d+)\.ffn\.': r'DEC.blocks.\1.ffn.',
    r'final_norm\.': 'DEC.layer_norm.',
}
TOKENS = {
    r'dvae_(..coder)\.(\d+)\.conv\.weight': r'dvae.\1.\2.m.weight',
    r'dvae_(..coder)\.': r'dvae.\1.',
    'token_embedding': 'dictionary.dictionary.weight',
    'pos_embed': 'positional_encoder.pe',
    r'slot_proj\.': 'slot_proj.',
    r'out_proj\.': 'out.',
    **{old: new.replace('DEC', 'tf_dec') for old, new in BLOCKS.items()},
}
LOOP = {
    r'norm_slots\.': 'slot_attn.slot_attention.norm_slots.',
    r'(?:mlp_norm|mlp\.norm)\.': 'slot_attn.slot_attention.norm_mlp.',
    r'to_(.)\.': r'slot_attn.slot_attention.project_\1.',
    r'gru\.': 'slot_attn.slot_attention.gru.',
    r'mlp\.': 'slot_attn.slot_attention.mlp.',
}
SLATE = {
    **TOKENS,
    r'slot\.front_norm\.': 'slot_attn.layer_norm.',
    r'slot\.front\.': 'slot_attn.mlp.',
    r'slot\.init_mu': 'slot_attn.slot_mu',
    r'slot\.init_log_sigma': 'slot_attn.slot_log_sigma',
    r'slot\.norm_input\.': 'slot_attn.slot_attention.norm_inputs.',
    **{rf'slot\.{old}': new for old, new in LOOP.items()},
}
BOQSA = {
    **TOKENS,
    r'backbone\.(\d)\.0\.': r'backbone.conv.\1.0.',
    r'slot\.front_pos_embed\.': 'slot_attn.pos_emb.dense.',
    r'slot\.front\.': 'slot_attn.mlp.',
    r'slot\.queries': 'slot_attn.slots_init.weight',
    r'slot\.norm_input\.': 'slot_attn.slot_attention.norm_feature.',
    **{rf'slot\.{old}': new for old, new in LOOP.items()},
}
BOQSA_SLOTS = {
    r'pos_embed\.': 'slot_attn.pos_emb.dense.',
    r'feature_mlp\.norm\.': 'slot_attn.mlp.0.',
    r'feature_mlp\.0\.': 'slot_attn.mlp.1.',
    r'feature_mlp\.2\.': 'slot_attn.mlp.3.',
    'queries': 'slot_attn.slots_init.weight',
    r'norm_input\.': 'slot_attn.slot_attention.norm_feature.',
    **LOOP,
}
BOQSA_DECODER = {
    r'pos_embed\.': 'decoder.pos_emb.dense.',
    r'deconv\.(\d)\.': r'decoder.conv.\1.0.conv.0.',
    # Behind the hidden layer of the last block, the third.
    r'deconv_out\.': 'decoder.conv.2.1.',
}
SPOT = {
    'bos_tokens': 'bos_tokens',
    r'input_proj\.': 'input_proj.0.',
    r'input_norm\.': 'input_proj.1.',
    r'slot_proj\.': 'slot_proj.0.',
    r'slot_norm\.': 'slot_proj.1.',
    **{old: new.replace('DEC', 'dec') for old, new in BLOCKS.items()},
}
SPOT_MLP = {'pos_embed': 'dec.pos_embed', r'mlp\.': 'dec.decoder.'}


def rename(name: str, names: dict[str, str]) -> str:
    for old, new in names.items():
        if re.match(old, name):
            return re.sub(f'^{old}', new, name)
    raise AssertionError(f'{name} has no released name')
