# mmsegmentation's ResNet inside mmocl's model, from scratch, on pixels (as patches of 16x16).
_base_ = [
    '_base_/slot_autoencoder.py',
    '_base_/voc_slots_224.py',
    '_base_/adamw_500.py',
    '_base_/mmocl_runtime.py',
]
model = dict(
    backbone=dict(
        type='mmseg.ResNetV1c',
        depth=18,
        num_stages=3,
        strides=(1, 2, 2),
        dilations=(1, 1, 1),
        out_indices=(2,),
    ),
    decoder=dict(type='MLPDecoder', grid=(14, 14), hidden_channels=512, num_hidden=2),
    target=dict(type='PixelTarget', patch_size=16),
)
