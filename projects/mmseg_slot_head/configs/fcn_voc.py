# The peer of slot_semantic_voc.py: mmsegmentation's FCNHead on the same frozen backbone.
_base_ = [
    '_base_/vit_small.py',
    '_base_/voc_semantic_224.py',
    '_base_/adamw_500.py',
    '_base_/runtime.py',
]
model = dict(
    decode_head=dict(
        type='FCNHead',
        in_channels=384,
        channels=256,
        num_convs=2,
        num_classes=21,
        norm_cfg=dict(type='BN'),
        loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True),
    )
)
optim_wrapper = dict(optimizer=dict(lr=4e-3))
