_base_ = [
    '../_base_/models/psa_conv.py',
    '../_base_/datasets/sprites_32.py',
    '../_base_/schedules/adam_sprites.py',
    '../_base_/default_runtime.py',
]
# The EM steps of psa_base_conv_sprites.py, trained by the likelihood of the released code.
model = dict(
    slot_head=dict(
        projections='q',
        normalize=False,
        variance_space='value',
        logit_scale=1.0,
    ),
    losses=[dict(type='DiscretizedGaussianLoss')],
)
