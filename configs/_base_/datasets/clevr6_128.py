# CLEVR with masks, at most 6 objects, at data/clevr_with_masks (or $MMOCL_DATA/clevr_with_masks) as
# tools/dataset_converters/multi_object_tfrecords.py writes it. Images and masks are cut to 192x192
# as in Slot Attention, then brought to 128x128.
data_root = '{{$MMOCL_DATA:data}}/clevr_with_masks'
train_dataloader = dict(
    batch_size=64,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    collate_fn=dict(type='mmocl.stack_inputs'),
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='ClevrMasks',
        data_root=data_root,
        split='train',
        max_objects=6,
        pipeline=[
            dict(type='LoadImage', frame=(29, 64, 221, 256)),
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
        type='ClevrMasks',
        data_root=data_root,
        split='val',
        max_objects=6,
        test_mode=True,
        pipeline=[
            dict(type='LoadImage', frame=(29, 64, 221, 256)),
            dict(type='ResizeCrop', size=128, crop='squash', interpolation='bilinear'),
            dict(type='LoadObjectMasks'),
            dict(type='PackSlotInputs'),
        ],
    ),
)
test_dataloader = dict(
    batch_size=32,
    num_workers=4,
    persistent_workers=True,
    pin_memory=True,
    collate_fn=dict(type='mmocl.stack_inputs'),
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='ClevrMasks',
        data_root=data_root,
        split='test',
        max_objects=6,
        test_mode=True,
        pipeline=[
            dict(type='LoadImage', frame=(29, 64, 221, 256)),
            dict(type='ResizeCrop', size=128, crop='squash', interpolation='bilinear'),
            dict(type='LoadObjectMasks'),
            dict(type='PackSlotInputs'),
        ],
    ),
)
val_evaluator = dict(
    type='ObjectDiscoveryMetric', protocol='clevr6crop128', mask_sources=['decoder', 'attention']
)
test_evaluator = val_evaluator
