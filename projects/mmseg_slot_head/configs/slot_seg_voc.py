# Unsupervised: every slot is a segment, trained by reconstructing the features (DINOSAUR).
_base_ = [
    '_base_/vit_small.py',
    '_base_/voc_objects_224.py',
    '_base_/adamw_500.py',
    '_base_/runtime.py',
]
model = dict(
    decode_head=dict(
        type='mmocl.SlotSegHead',
        in_channels=384,
        slot_head=dict(
            type='SlotAttention',
            slot_dim=256,
            num_iters=3,
            gradient='bilevel',
            embed_channels=384,
            mlp_channels=1024,
            initializer=dict(type='LearnedSlots', num_slots={{_base_.num_slots}}),
        ),
        decoder=dict(type='MLPDecoder', grid=(16, 16), hidden_channels=256, num_hidden=2),
        target=dict(type='FeatureTarget', normalize=True),
        masks='attention',
    )
)
