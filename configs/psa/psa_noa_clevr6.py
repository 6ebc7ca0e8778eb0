_base_ = [
    '../_base_/models/psa_noa_conv.py',
    '../_base_/datasets/clevr6_128.py',
    '../_base_/schedules/adamw_psa_500k.py',
    '../_base_/default_runtime.py',
]
# psa_clevr6.py, where it says what differs from the paper, with a decoder that is not additive.
model = dict(
    backbone=dict(channels=64, strides=(1, 2, 2, 1), kernel_size=5),
    slot_head=dict(
        slot_dim=64,
        embed_channels=64,
        gradient='unrolled',
        projections='q',
        normalize=False,
        variance='map',
        variance_space='value',
        logit_scale=1.0,
        min_var=0.0,
        initializer=dict(num_slots=7),
    ),
    decoder=dict(channels=64, strides=(2, 2, 2, 2, 1)),
    losses=[dict(type='DiscretizedGaussianLoss')],
)
train_dataloader = dict(batch_size=32)
# The decoder has no masks of the image.
val_evaluator = dict(mask_sources=['attention'])
test_evaluator = val_evaluator
