_base_ = [
    '../_base_/models/slot_attention_conv.py',
    '../_base_/datasets/sprites_32.py',
    '../_base_/schedules/adam_sprites.py',
    '../_base_/default_runtime.py',
]
# A cell of the ablation grid (README.md): shared Gaussian, unrolled gradient.
model = dict(slot_head=dict(extra_step=True))
