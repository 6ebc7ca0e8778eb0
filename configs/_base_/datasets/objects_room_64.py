# Objects Room, 64x64, at data/objects_room (or $MMOCL_DATA/objects_room) as
# tools/dataset_converters/multi_object_tfrecords.py writes it. Batches are BO-QSA's.
data_root = '{{$MMOCL_DATA:data}}/objects_room'
train_dataloader = dict(
    batch_size=128,
    num_workers=4,
    persistent_workers=True,
    pin_memory=True,
    collate_fn=dict(type='mmocl.stack_inputs'),
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='ObjectsRoom',
        data_root=data_root,
        split='train',
        pipeline=[
            dict(type='LoadImage'),
            dict(type='ResizeCrop', size=64, crop='squash', interpolation='bilinear'),
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
        type='ObjectsRoom',
        data_root=data_root,
        split='val',
        test_mode=True,
        pipeline=[
            dict(type='LoadImage'),
            dict(type='ResizeCrop', size=64, crop='squash', interpolation='bilinear'),
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
        type='ObjectsRoom',
        data_root=data_root,
        split='test',
        test_mode=True,
        pipeline=[
            dict(type='LoadImage'),
            dict(type='ResizeCrop', size=64, crop='squash', interpolation='bilinear'),
            dict(type='LoadObjectMasks'),
            dict(type='PackSlotInputs'),
        ],
    ),
)
val_evaluator = dict(
    type='ObjectDiscoveryMetric', protocol='square128', mask_sources=['decoder', 'attention']
)
test_evaluator = val_evaluator
