_base_ = [
    '../_base_/models/boqsa_transformer.py',
    '../_base_/datasets/shapestacks_128.py',
    '../_base_/schedules/adam_slate_250k.py',
    '../_base_/default_runtime.py',
]
# As released (three updates in all, eps on the sum, DropPath, multiplicative noise), but that the
# tokenizer is warmed up too.
model = dict(
    tokenizer=dict(vocab_size=1024),
    backbone=dict(channels=64, strides=(1, 1, 1, 1), kernel_size=5),
    slot_head=dict(
        slot_dim=256,
        embed_channels=256,
        mlp_channels=256,
        extra_step=False,
        eps=1.0,
        eps_mode='sum',
        drop_path=0.2,
        initializer=dict(num_slots=12, noise_mode='multiplicative'),
    ),
    decoder=dict(grid=(32, 32), channels=256, num_layers=4, num_heads=4),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-4, by_epoch=False, end=10000),
    # 0.5 ** (1 / 50000)
    dict(type='ExponentialLR', gamma=0.99998613715, by_epoch=False, end=250000),
]
custom_hooks = [
    dict(type='StrictCheckpointHook'),
    dict(
        type='AttributeAnnealingHook',
        attribute='tokenizer.temperature',
        start=1.0,
        end=0.1,
        num_steps=30000,
    ),
    dict(
        type='AttributeAnnealingHook',
        attribute='slot_head.initializer.sigma',
        start=1.0,
        end=0.0,
        num_steps=30000,
    ),
]
# The mask of a slot is its attention; the decoder's is its cross-attention.
val_evaluator = dict(mask_sources=['attention', 'decoder'])
test_evaluator = val_evaluator
