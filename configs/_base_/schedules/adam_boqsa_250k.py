# BO-QSA, SMM: 5k steps of warm-up, and half the learning rate every 50k steps, both from the first
# step on.
train_cfg = dict(type='IterBasedTrainLoop', max_iters=250000, val_interval=5000)
val_cfg = dict()
test_cfg = dict()
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='Adam', fused=True, lr=4e-4),
    clip_grad=dict(max_norm=1.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=2e-4, by_epoch=False, end=5000),
    # 0.5 ** (1 / 50000)
    dict(type='ExponentialLR', gamma=0.99998613715, by_epoch=False, end=250000),
]
