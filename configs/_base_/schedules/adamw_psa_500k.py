# PSA's released code: 5k steps of warm-up, then a constant learning rate. It trains 600 epochs, on
# CLEVR with up to six objects about 650k steps of 32 images.
train_cfg = dict(type='IterBasedTrainLoop', max_iters=500000, val_interval=10000)
val_cfg = dict()
test_cfg = dict()
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', fused=True, lr=2e-4, betas=(0.9, 0.9), weight_decay=0.01),
    clip_grad=dict(max_norm=100.0),
)
param_scheduler = [dict(type='LinearLR', start_factor=2e-4, by_epoch=False, end=5000)]
