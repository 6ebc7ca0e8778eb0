_base_ = [
    '../_base_/models/boqsa_conv.py',
    '../_base_/datasets/sprites_32.py',
    '../_base_/schedules/adam_sprites.py',
    '../_base_/default_runtime.py',
]
# The released code: three updates in all, eps on the sum, DropPath, multiplicative noise.
model = dict(
    slot_head=dict(
        extra_step=False,
        eps=1.0,
        eps_mode='sum',
        drop_path=0.2,
        initializer=dict(noise_mode='multiplicative'),
    )
)
# The noise on the queries falls to zero in the first third of the run (paper: 30,000 of 250,000).
custom_hooks = [
    dict(type='StrictCheckpointHook'),
    dict(
        type='AttributeAnnealingHook',
        attribute='slot_head.initializer.sigma',
        start=1.0,
        end=0.0,
        num_steps=500,
    ),
]
