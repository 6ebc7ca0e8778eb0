# The slots that slot_probe_voc.py probes: DINOSAUR on a frozen ViT-S/14.
_base_ = [
    '_base_/slot_autoencoder.py',
    '_base_/voc_slots_224.py',
    '_base_/adamw_500.py',
    '_base_/mmocl_runtime.py',
]
model = dict(
    backbone=dict(
        type='TimmBackbone',
        model_name='vit_small_patch14_dinov2.lvd142m',
        checkpoint='{{$MMOCL_WEIGHTS:weights}}/vit_small_patch14_dinov2_imgfocus_fp16.pth',
        position_resize='plain',
        norm=True,
    ),
    decoder=dict(type='MLPDecoder', grid=(16, 16), hidden_channels=256, num_hidden=2),
    target=dict(type='FeatureTarget', normalize=True),
)
