_base_ = [
    '../_base_/models/psa_conv.py',
    '../_base_/datasets/sprites_32.py',
    '../_base_/schedules/adam_sprites.py',
    '../_base_/default_runtime.py',
]
# The EM steps of algorithm 1 of the paper, but for the floor `min_var` under the variances. Unlike
# there: the tokens pass a layer norm and an MLP, the first means come from a learned Gaussian, the
# gradient is bi-level, and the decoder gets the means. See README.md.
model = dict(
    slot_head=dict(
        projections='qkv',
        normalize=False,
        variance_space='value',
        logit_scale=1.0,
    )
)
