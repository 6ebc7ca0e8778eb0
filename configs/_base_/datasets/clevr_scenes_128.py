# CLEVR v1.0 with the properties of its objects, for set prediction, at data/CLEVR_v1.0 (or
# $MMOCL_DATA/CLEVR_v1.0), squashed to 128x128 without a crop; batches are SMM's. There are no
# masks, so the method's config names the evaluator.
data_root = '{{$MMOCL_DATA:data}}/CLEVR_v1.0'
train_dataloader = dict(
    batch_size=512,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    collate_fn=dict(type='mmocl.stack_inputs'),
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='ClevrScenes',
        data_root=data_root,
        split='train',
        pipeline=[
            dict(type='LoadImage'),
            dict(type='ResizeCrop', size=128, crop='squash', interpolation='bilinear'),
            dict(type='PackSlotInputs'),
        ],
    ),
)
val_dataloader = dict(
    batch_size=32,
    num_workers=4,
    persistent_workers=True,
    pin_memory=True,
    collate_fn=dict(type='mmocl.stack_inputs'),
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='ClevrScenes',
        data_root=data_root,
        split='val',
        test_mode=True,
        pipeline=[
            dict(type='LoadImage'),
            dict(type='ResizeCrop', size=128, crop='squash', interpolation='bilinear'),
            dict(type='PackSlotInputs'),
        ],
    ),
)
test_dataloader = val_dataloader
