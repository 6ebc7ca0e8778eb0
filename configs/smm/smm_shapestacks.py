_base_ = [
    '../_base_/models/smm_conv.py',
    '../_base_/datasets/shapestacks_128.py',
    '../_base_/schedules/adam_boqsa_250k.py',
    '../_base_/default_runtime.py',
]
# Widths, strides and schedule of the released code, which trains in half precision (`--amp`). It
# leaves the number of slots open; 8 is that of BO-QSA. Unlike there the head is that of the paper,
# from a shared Gaussian (README.md).
model = dict(
    backbone=dict(channels=64, strides=(2, 1, 1, 1), kernel_size=5),
    slot_head=dict(
        slot_dim=64,
        embed_channels=128,
        mlp_channels=128,
        initializer=dict(num_slots=8),
    ),
    decoder=dict(channels=64, strides=(2, 2, 2, 2, 1)),
)
