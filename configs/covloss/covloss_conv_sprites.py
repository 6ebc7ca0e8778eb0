_base_ = [
    '../_base_/models/slot_attention_conv.py',
    '../_base_/datasets/sprites_32.py',
    '../_base_/schedules/adam_sprites.py',
    '../_base_/default_runtime.py',
]
# Weights, projection head and divisor as in the authors' runs.
model = dict(
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
