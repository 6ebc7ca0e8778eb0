# PSA on your own pictures: no annotations, any folder (docs/own_pictures.md).
_base_ = [
    '../_base_/models/psa_dino_mlp.py',
    '../_base_/datasets/folder_224.py',
    '../_base_/schedules/adam_20k.py',
    '../_base_/default_runtime.py',
]
# About as many slots as there are things in a picture, the background included.
model = dict(slot_head=dict(initializer=dict(num_slots=7)))
# A picture of the masks at every validation.
default_hooks = dict(visualization=dict(interval=1))
custom_hooks = [dict(type='StrictCheckpointHook'), dict(type='CollapseMonitorHook')]
