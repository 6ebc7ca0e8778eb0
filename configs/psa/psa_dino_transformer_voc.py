_base_ = [
    '../_base_/models/psa_dino_transformer.py',
    '../_base_/datasets/voc_224.py',
    '../_base_/schedules/adam_500k.py',
    '../_base_/default_runtime.py',
]
model = dict(
    slot_head=dict(initializer=dict(num_slots=6)),
    decoder=dict(num_heads=4),
)
train_cfg = dict(max_iters=300000)
# The paper's learning rate for this decoder; clipping, schedule and heads are DINOSAUR's here,
# while the authors follow SPOT.
optim_wrapper = dict(optimizer=dict(lr=1e-4))
