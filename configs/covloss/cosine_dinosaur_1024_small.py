_base_ = [
    '../_base_/models/slot_attention_dino_mlp.py',
    '../_base_/datasets/coco_tokens_small.py',
    '../_base_/schedules/adam_small.py',
    '../_base_/default_runtime.py',
]
# dinosaur_1024_small.py with the weight and margin of the authors' runs on pixels.
model = dict(
    backbone=dict(
        model_name='vit_small_patch14_dinov2.lvd142m',
        pretrained=False,
        checkpoint='{{$MMOCL_WEIGHTS:weights}}/vit_small_patch14_dinov2_imgfocus_fp16.pth',
        norm=True,
        position_resize='plain',
    ),
    slot_head=dict(slot_dim=1024, embed_channels=384),
    decoder=dict(grid=(16, 16), hidden_channels=256, num_hidden=2),
    target=dict(normalize=True),
    losses=[
        dict(type='ReconstructionLoss'),
        dict(type='CosineSlotLoss', weight=0.01, margin=0.2),
    ],
)
train_dataloader = dict(batch_size=8)
max_iters = 600
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, end=100),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=100, T_max=max_iters - 100, eta_min=1e-4),
]
