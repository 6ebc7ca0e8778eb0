# Supervised: slots as region queries, each of which predicts a class.
_base_ = [
    '_base_/vit_small.py',
    '_base_/voc_semantic_224.py',
    '_base_/adamw_500.py',
    '_base_/runtime.py',
]
model = dict(
    decode_head=dict(
        type='mmocl.SlotSemanticHead',
        in_channels=384,
        num_classes=21,
        slot_head=dict(
            type='SlotAttention',
            slot_dim=256,
            num_iters=3,
            embed_channels=512,
            mlp_channels=512,
            initializer=dict(type='LearnedSlots', num_slots=64),
        ),
        loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True),
    )
)
