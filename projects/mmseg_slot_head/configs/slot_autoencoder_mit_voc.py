# mmsegmentation's MixVisionTransformer (B0, three stages) inside mmocl's model, from scratch, on
# pixels (as patches of 16x16).
_base_ = [
    '_base_/slot_autoencoder.py',
    '_base_/voc_slots_224.py',
    '_base_/adamw_500.py',
    '_base_/mmocl_runtime.py',
]
model = dict(
    backbone=dict(
        type='mmseg.MixVisionTransformer',
        embed_dims=32,
        num_stages=3,
        num_layers=[2, 2, 2],
        num_heads=[1, 2, 5],
        patch_sizes=[7, 3, 3],
        strides=[4, 2, 2],
        sr_ratios=[8, 4, 2],
        out_indices=(2,),
    ),
    decoder=dict(type='MLPDecoder', grid=(14, 14), hidden_channels=512, num_hidden=2),
    target=dict(type='PixelTarget', patch_size=16),
)
