_base_ = [
    '../_base_/models/psa_conv.py',
    '../_base_/datasets/objects_room_64.py',
    '../_base_/schedules/adamw_psa_500k.py',
    '../_base_/default_runtime.py',
]
# Algorithm 2 of the paper. The variance's posterior mode, likelihood, widths, number of tokens and
# optimiser are those of the released code. Unlike there: 64x64 images, not 32x32; plain
# convolutions as in Slot Attention, not residual blocks with pooling; variances around the new
# mean; no moving average of the weights (the paper's figures are of the weights themselves);
# gradients above a norm of 100 are scaled, but no step is left out. On sprites, in 1,500 steps, the
# gradient through all iterations did not learn, and 'bilevel' did (README.md).
model = dict(
    backbone=dict(channels=64, strides=(2, 2, 2, 1), kernel_size=5),
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
    decoder=dict(channels=64, strides=(2, 2, 2, 1)),
    losses=[dict(type='DiscretizedGaussianLoss')],
)
train_dataloader = dict(batch_size=32)
