_base_ = [
    '../_base_/models/slot_attention_conv.py',
    '../_base_/datasets/sprites_32.py',
    '../_base_/schedules/adam_sprites.py',
    '../_base_/default_runtime.py',
]
# Weight and margin as in the authors' runs.
model = dict(
    losses=[
        dict(type='ReconstructionLoss'),
        dict(type='CosineSlotLoss', weight=0.01, margin=0.2),
    ],
)
