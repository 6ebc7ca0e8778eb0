# A linear layer on frozen slots: each token is described by the slots that attend to it. Train the
# slots first (slots_voc.py).
_base_ = [
    '_base_/vit_small.py',
    '_base_/voc_semantic_224.py',
    '_base_/adamw_500.py',
    '_base_/runtime.py',
]
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmocl.SlotBackbone',
        model='projects/mmseg_slot_head/configs/slots_voc.py',
        checkpoint='work_dirs/slots_voc/iter_500.pth',
        outputs=['slots'],
    ),
    decode_head=dict(
        type='FCNHead',
        in_channels=256,
        channels=256,
        num_convs=0,
        concat_input=False,
        num_classes=21,
        loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True),
    ),
)
optim_wrapper = dict(optimizer=dict(lr=4e-3))
