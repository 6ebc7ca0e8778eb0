# DINOSAUR: 10k steps of warm-up, then half the learning rate every 100k steps.
train_cfg = dict(type='IterBasedTrainLoop', max_iters=500000, val_interval=10000)
val_cfg = dict()
test_cfg = dict()
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='Adam', fused=True, lr=4e-4),
    clip_grad=dict(max_norm=1.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-4, by_epoch=False, end=10000),
    # 0.5 ** (1 / 100000)
    dict(type='ExponentialLR', gamma=0.99999306855, by_epoch=False, begin=10000, end=500000),
]
