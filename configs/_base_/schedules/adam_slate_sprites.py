# A few minutes on two CPU cores; the tokenizer learns three times as fast, as in SLATE.
max_iters = 2000
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=max_iters)
val_cfg = dict()
test_cfg = dict()
optim_wrapper = dict(
    type='Bf16OptimWrapper',
    optimizer=dict(type='Adam', fused=True, lr=1e-3),
    constructor='MergedGroupsConstructor',
    paramwise_cfg=dict(custom_keys={'tokenizer': dict(lr_mult=3.0)}),
    clip_grad=dict(max_norm=1.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, end=100),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=1500, T_max=500, eta_min=1e-4),
]
