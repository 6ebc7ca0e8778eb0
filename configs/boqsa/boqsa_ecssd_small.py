_base_ = [
    '../_base_/models/boqsa_conv.py',
    '../_base_/datasets/ecssd_64.py',
    '../_base_/schedules/adam_small.py',
    '../_base_/default_runtime.py',
]
# Foreground extraction (the paper's table 5), small: one slot for salient objects,
# one for the rest, and the mixture decoder.
model = dict(
    backbone=dict(strides=(2, 2), kernel_size=5),
    slot_head=dict(initializer=dict(num_slots=2)),
    decoder=dict(strides=(2, 2, 2)),
)
train_dataloader = dict(batch_size=16)
# The noise on the queries falls to zero in the first third of the run (paper: 30,000 of 250,000).
custom_hooks = [
    dict(type='StrictCheckpointHook'),
    dict(
        type='AttributeAnnealingHook',
        attribute='slot_head.initializer.sigma',
        start=1.0,
        end=0.0,
        num_steps=300,
    ),
]
