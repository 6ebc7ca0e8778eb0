_base_ = [
    '../_base_/models/boqsa_transformer.py',
    '../_base_/datasets/sprites_32.py',
    '../_base_/schedules/adam_slate_sprites.py',
    '../_base_/default_runtime.py',
]
# With SLATE's 1e-3 the attention of one slot took everything.
optim_wrapper = dict(
    optimizer=dict(lr=5e-4), paramwise_cfg=dict(custom_keys={'tokenizer': dict(lr_mult=6.0)})
)
custom_hooks = [
    dict(type='StrictCheckpointHook'),
    dict(
        type='AttributeAnnealingHook',
        attribute='tokenizer.temperature',
        start=1.0,
        end=0.1,
        num_steps=300,
    ),
    dict(
        type='AttributeAnnealingHook',
        attribute='slot_head.initializer.sigma',
        start=1.0,
        end=0.0,
        num_steps=300,
    ),
]
# The mask of a slot is its attention; the decoder's is its cross-attention.
val_evaluator = dict(mask_sources=['attention', 'decoder'])
test_evaluator = val_evaluator
