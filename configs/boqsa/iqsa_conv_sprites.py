_base_ = [
    '../_base_/models/boqsa_conv.py',
    '../_base_/datasets/sprites_32.py',
    '../_base_/schedules/adam_sprites.py',
    '../_base_/default_runtime.py',
]
# A cell of the ablation grid (README.md): learned queries, implicit gradient.
model = dict(slot_head=dict(gradient='implicit'))
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
