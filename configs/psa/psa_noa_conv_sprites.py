_base_ = [
    '../_base_/models/psa_noa_conv.py',
    '../_base_/datasets/sprites_32.py',
    '../_base_/schedules/adam_sprites.py',
    '../_base_/default_runtime.py',
]
# The EM steps of psa_base_conv_sprites.py: those of PSA, as in the released code; the paper says
# that PSA-NoA has those of PSA-PROJ.
model = dict(
    slot_head=dict(
        projections='q',
        normalize=False,
        variance_space='value',
        logit_scale=1.0,
    ),
)
# The decoder has no masks of the image.
val_evaluator = dict(mask_sources=['attention'])
test_evaluator = val_evaluator
