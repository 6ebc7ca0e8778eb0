_base_ = [
    '../_base_/models/slot_attention_dino_transformer.py',
    '../_base_/datasets/coco_tokens_small.py',
    '../_base_/schedules/adam_small.py',
    '../_base_/default_runtime.py',
]
model = dict(
    backbone=dict(
        model_name='vit_small_patch14_dinov2.lvd142m',
        pretrained=False,
        checkpoint='{{$MMOCL_WEIGHTS:weights}}/vit_small_patch14_dinov2_imgfocus_fp16.pth',
        norm=True,
        position_resize='plain',
    ),
    slot_head=dict(embed_channels=384),
    decoder=dict(grid=(16, 16), channels=192, num_layers=2, num_heads=4),
    target=dict(normalize=True),
)
train_dataloader = dict(batch_size=8)
