# mmsegmentation's VisionTransformer with the weights of a ViT-S/14 (../convert_vit.py), frozen,
# inside mmocl's model, which reconstructs its features (DINOSAUR).
_base_ = [
    '_base_/slot_autoencoder.py',
    '_base_/voc_slots_224.py',
    '_base_/adamw_500.py',
    '_base_/mmocl_runtime.py',
]
model = dict(
    backbone=dict(
        type='MapBackbone',
        frozen=True,
        backbone=dict(
            type='mmseg.VisionTransformer',
            img_size=518,
            patch_size=14,
            embed_dims=384,
            num_layers=12,
            num_heads=6,
            out_indices=11,
            patch_bias=True,
            final_norm=True,
            norm_cfg=dict(type='LN', eps=1e-6),
            init_cfg=dict(type='Pretrained', checkpoint='work_dirs/vit_small_mmseg.pth'),
        ),
    ),
    decoder=dict(type='MLPDecoder', grid=(16, 16), hidden_channels=256, num_hidden=2),
    target=dict(type='FeatureTarget', normalize=True),
)
