# ShapeStacks at data/shapestacks (or $MMOCL_DATA/shapestacks); as in BO-QSA the centre 196x196 of
# 224x224, brought to 96x96.
data_root = '{{$MMOCL_DATA:data}}/shapestacks'
train_dataloader = dict(
    batch_size=50,
    num_workers=4,
    persistent_workers=True,
    pin_memory=True,
    collate_fn=dict(type='mmocl.stack_inputs'),
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='ShapeStacks',
        data_root=data_root,
        split='train',
        pipeline=[
            dict(type='LoadImage', frame=(14, 14, 210, 210)),
            dict(type='ResizeCrop', size=96, crop='squash', interpolation='bilinear'),
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
        type='ShapeStacks',
        data_root=data_root,
        split='eval',
        test_mode=True,
        pipeline=[
            dict(type='LoadImage', frame=(14, 14, 210, 210)),
            dict(type='ResizeCrop', size=96, crop='squash', interpolation='bilinear'),
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
        type='ShapeStacks',
        data_root=data_root,
        split='test',
        test_mode=True,
        pipeline=[
            dict(type='LoadImage', frame=(14, 14, 210, 210)),
            dict(type='ResizeCrop', size=96, crop='squash', interpolation='bilinear'),
            dict(type='LoadObjectMasks'),
            dict(type='PackSlotInputs'),
        ],
    ),
)
val_evaluator = dict(
    type='ObjectDiscoveryMetric', protocol='square128', mask_sources=['decoder', 'attention']
)
test_evaluator = val_evaluator
