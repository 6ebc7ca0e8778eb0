# A raw VOC folder at data/VOC2012 (or $MMOCL_DATA/VOC2012) with mmocl's own transforms: centre
# crops of 224x224 in a test, as SPOT scores them.
data_root = '{{$MMOCL_DATA:data}}/VOC2012'
train_pipeline = [
    dict(type='LoadImage', min_side=224),
    dict(type='ResizeCrop', size=224, crop='random'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSlotInputs'),
]
test_pipeline = [
    dict(type='LoadImage'),
    dict(type='ResizeCrop', size=224, crop='center'),
    dict(type='LoadObjectMasks'),
    dict(type='PackSlotInputs'),
]
train_dataloader = dict(
    batch_size=8,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='VocObjects',
        data_root=data_root,
        split='trainaug',
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=8,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='VocObjects',
        data_root=data_root,
        split='val',
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='ObjectDiscoveryMetric', protocol='spot320')
test_evaluator = val_evaluator
