# SLATE: the tokenizer learns three times as fast (3e-4). Deviations: there only the others (1e-4)
# are warmed up, all are halved whenever validation stands still, and gradients are clipped by
# their largest element; here all are warmed up, none are halved, and the 2-norm is clipped.
train_cfg = dict(type='IterBasedTrainLoop', max_iters=250000, val_interval=10000)
val_cfg = dict()
test_cfg = dict()
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='Adam', fused=True, lr=1e-4),
    constructor='MergedGroupsConstructor',
    paramwise_cfg=dict(custom_keys={'tokenizer': dict(lr_mult=3.0)}),
    clip_grad=dict(max_norm=1.0),
)
param_scheduler = [dict(type='LinearLR', start_factor=1e-4, by_epoch=False, end=30000)]
