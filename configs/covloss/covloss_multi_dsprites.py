_base_ = [
    '../_base_/models/slot_attention_conv.py',
    '../_base_/datasets/sprites_64.py',
    '../_base_/schedules/adam_sa_500k.py',
    '../_base_/default_runtime.py',
]
# Images in [0, 1], a full canvas, weights, projection head and divisor as in the authors' runs;
# generated scenes in place of Multi-dSprites.
model = dict(
    data_preprocessor=dict(mean=(0.0, 0.0, 0.0), std=(255.0, 255.0, 255.0)),
    backbone=dict(channels=64, strides=(1, 1, 1, 1), kernel_size=5),
    slot_head=dict(slot_dim=64, embed_channels=64, mlp_channels=128),
    decoder=dict(channels=64, broadcast_size=(64, 64), strides=(1, 1, 1)),
    losses=[
        dict(type='ReconstructionLoss'),
        dict(
            type='CovarianceLoss',
            weight=1.0,
            cov_weight=1.0,
            std_weight=0.0,
            head_channels=1024,
            head_norm='layer',
            divisor='square',
        ),
    ],
)
