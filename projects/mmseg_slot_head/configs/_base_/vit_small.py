# A frozen ViT-S/14, its last block, in mmsegmentation's EncoderDecoder; heads are the configs'.
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        size=(224, 224),
    ),
    backbone=dict(
        type='mmocl.TimmBackbone',
        model_name='vit_small_patch14_dinov2.lvd142m',
        checkpoint='{{$MMOCL_WEIGHTS:weights}}/vit_small_patch14_dinov2_imgfocus_fp16.pth',
        position_resize='plain',
        norm=True,
        output='maps',
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)
