_base_ = [
    '../_base_/models/slot_attention_noa_conv.py',
    '../_base_/datasets/sprites_32.py',
    '../_base_/schedules/adam_sprites.py',
    '../_base_/default_runtime.py',
]
# The decoder has no masks of the image.
val_evaluator = dict(mask_sources=['attention'])
test_evaluator = val_evaluator
