_base_ = [
    '../_base_/models/slate_psa.py',
    '../_base_/datasets/sprites_32.py',
    '../_base_/schedules/adam_slate_sprites.py',
    '../_base_/default_runtime.py',
]
custom_hooks = [
    dict(type='StrictCheckpointHook'),
    dict(
        type='AttributeAnnealingHook',
        attribute='tokenizer.temperature',
        start=1.0,
        end=0.1,
        num_steps=300,
    ),
]
# The mask of a slot is its attention; the decoder's is its cross-attention.
val_evaluator = dict(mask_sources=['attention', 'decoder'])
test_evaluator = val_evaluator
