# The peer of slot_probe_voc.py: a linear layer on the tokens of the same frozen backbone.
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
        channels=384,
        num_convs=0,
        concat_input=False,
        num_classes=21,
        loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True),
    )
)
optim_wrapper = dict(optimizer=dict(lr=4e-3))
