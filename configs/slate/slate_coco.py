_base_ = [
    '../_base_/models/slate.py',
    '../_base_/datasets/coco_128.py',
    '../_base_/schedules/adam_slate_250k.py',
    '../_base_/default_runtime.py',
]
# Sizes and iterations of OCLF's SLATE on COCO. Unlike there: images in [0, 1], two learning rates
# and no decay (there 3e-4 for all, halved every 250,000 steps), and the blocks of SLATE's code.
model = dict(
    tokenizer=dict(vocab_size=4096),
    backbone=dict(channels=192),
    slot_head=dict(
        slot_dim=192,
        num_iters=7,
        embed_channels=192,
        mlp_channels=192,
        initializer=dict(num_slots=11),
    ),
    decoder=dict(grid=(32, 32), channels=192, num_layers=8, num_heads=8),
)
custom_hooks = [
    dict(type='StrictCheckpointHook'),
    dict(
        type='AttributeAnnealingHook',
        attribute='tokenizer.temperature',
        start=1.0,
        end=0.1,
        num_steps=30000,
    ),
]
# The mask of a slot is its attention; the decoder's is its cross-attention.
val_evaluator = dict(mask_sources=['attention', 'decoder'])
test_evaluator = val_evaluator
