_base_ = [
    '../_base_/models/boqsa_conv.py',
    '../_base_/datasets/clevrtex_128.py',
    '../_base_/schedules/adam_boqsa_250k.py',
    '../_base_/default_runtime.py',
]
# The paper: three updates and the straight-through one behind them, additive noise on the queries.
# Its released code has another form, see boqsa_released_conv_sprites.py.
model = dict(
    backbone=dict(channels=64, strides=(2, 1, 1, 1), kernel_size=5),
    slot_head=dict(
        slot_dim=64,
        embed_channels=128,
        mlp_channels=128,
        initializer=dict(num_slots=11),
    ),
    decoder=dict(channels=64, strides=(2, 2, 2, 2, 1)),
)
custom_hooks = [
    dict(type='StrictCheckpointHook'),
    dict(
        type='AttributeAnnealingHook',
        attribute='slot_head.initializer.sigma',
        start=1.0,
        end=0.0,
        num_steps=30000,
    ),
]
