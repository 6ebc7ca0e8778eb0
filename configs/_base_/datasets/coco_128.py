# Raw COCO folders below data/coco (or $MMOCL_DATA/coco), 128x128 centre crops.
data_root = '{{$MMOCL_DATA:data}}/coco'
train_dataloader = dict(
    batch_size=64,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    collate_fn=dict(type='mmocl.stack_inputs'),
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='CocoObjects',
        data_root=data_root,
        split='train2017',
        pipeline=[
            dict(type='LoadImage', min_side=128),
            dict(type='ResizeCrop', size=128, crop='center', backend='torch'),
            dict(type='RandomFlip', prob=0.5),
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
        type='CocoObjects',
        data_root=data_root,
        split='val2017',
        test_mode=True,
        pipeline=[
            dict(type='LoadImage'),
            dict(type='ResizeCrop', size=128, crop='center'),
            dict(type='LoadObjectMasks'),
            dict(type='PackSlotInputs'),
        ],
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(
    type='ObjectDiscoveryMetric', protocol='spot320', mask_sources=['decoder', 'attention']
)
test_evaluator = val_evaluator
