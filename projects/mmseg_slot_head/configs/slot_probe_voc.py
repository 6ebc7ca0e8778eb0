# The same layer on frozen slots: a token is described by the slots that attend to it. Train the
# slots first (slots_voc.py).
_base_ = ['linear_probe_voc.py']
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmocl.SlotBackbone',
        model='projects/mmseg_slot_head/configs/slots_voc.py',
        checkpoint='work_dirs/slots_voc/iter_500.pth',
        outputs=['slots'],
    ),
    decode_head=dict(in_channels=256, channels=256),
)
