_base_ = [
    '../_base_/models/ae_conv.py',
    '../_base_/datasets/sprites_32.py',
    '../_base_/schedules/adam_sprites.py',
    '../_base_/default_runtime.py',
]
# Its slots attend to nothing.
val_evaluator = dict(mask_sources=['decoder'])
test_evaluator = val_evaluator
