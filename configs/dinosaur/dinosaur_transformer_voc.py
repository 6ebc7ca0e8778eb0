_base_ = [
    '../_base_/models/slot_attention_dino_transformer.py',
    '../_base_/datasets/voc_224.py',
    '../_base_/schedules/adam_500k.py',
    '../_base_/default_runtime.py',
]
model = dict(
    slot_head=dict(initializer=dict(num_slots=6)),
    decoder=dict(num_heads=4),
)
train_cfg = dict(max_iters=300000)
