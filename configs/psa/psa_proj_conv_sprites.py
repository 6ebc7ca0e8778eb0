_base_ = [
    '../_base_/models/psa_conv.py',
    '../_base_/datasets/sprites_32.py',
    '../_base_/schedules/adam_sprites.py',
    '../_base_/default_runtime.py',
]
# Algorithm 1 of the paper, but for a floor under the variances and the bi-level gradient
# (README.md says what happens without).
model = dict(
    slot_head=dict(
        projections='qkv',
        normalize=False,
        variance_space='value',
        logit_scale=1.0,
    )
)
