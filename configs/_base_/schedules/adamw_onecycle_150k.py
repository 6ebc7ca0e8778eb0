# Set prediction of SMM: up for 5 % of the steps, then down along a cosine, in float32 without
# clipping. Its scheduler, PyTorch's, also cycles the first beta of AdamW; this one does not.
max_iters = 150000
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=10000)
val_cfg = dict()
test_cfg = dict()
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='AdamW', fused=True, lr=3.5e-4, weight_decay=0.01)
)
param_scheduler = [
    dict(type='OneCycleLR', eta_max=3.5e-4, total_steps=max_iters, pct_start=0.05, by_epoch=False)
]
