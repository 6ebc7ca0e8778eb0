_base_ = [
    '../_base_/models/slate_smm.py',
    '../_base_/datasets/shapestacks_96.py',
    '../_base_/schedules/adam_slate_250k.py',
    '../_base_/default_runtime.py',
]
# 96x96 and 7 iterations, as in the published protocol for implicit SLATE; the sizes are those of
# SLATE's code, the number of slots is that of BO-QSA's runs. The paper's settings are not known.
model = dict(
    tokenizer=dict(vocab_size=1024),
    backbone=dict(channels=192),
    slot_head=dict(
        slot_dim=192,
        num_iters=7,
        embed_channels=192,
        mlp_channels=192,
        initializer=dict(num_slots=12),
    ),
    decoder=dict(grid=(24, 24), channels=192, num_layers=4, num_heads=4),
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
