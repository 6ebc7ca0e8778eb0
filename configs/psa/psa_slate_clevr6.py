_base_ = [
    '../_base_/models/slate_psa.py',
    '../_base_/datasets/clevr6_128.py',
    '../_base_/schedules/adam_slate_250k.py',
    '../_base_/default_runtime.py',
]
# The paper says no more than that PSA takes the place of Slot Attention in SLATE: sizes are those
# of OCLF's SLATE on CLEVR6, the number of slots is that of PSA's other runs on it.
model = dict(
    tokenizer=dict(vocab_size=4096),
    backbone=dict(channels=192),
    slot_head=dict(slot_dim=192, embed_channels=192, initializer=dict(num_slots=7)),
    decoder=dict(grid=(32, 32), channels=192, num_layers=8, num_heads=4),
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
