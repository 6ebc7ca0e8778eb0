# A raw VOC folder at data/VOC2012 (or $MMOCL_DATA/VOC2012) with mmsegmentation's own transforms;
# whole images, brought to 224x224, in a test, where instances are scored.
data_root = '{{$MMOCL_DATA:data}}/VOC2012'
num_slots = 6
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomResize', scale=(448, 224), ratio_range=(1.0, 1.6), keep_ratio=True),
    dict(type='RandomCrop', crop_size=(224, 224)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(224, 224), keep_ratio=False),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(
    batch_size=8,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='mmocl.SlotSegDataset',
        objects=dict(type='VocObjects', data_root=data_root, split='trainaug'),
        num_slots=num_slots,
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=8,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='mmocl.SlotSegDataset',
        objects=dict(type='VocObjects', data_root=data_root, split='val'),
        num_slots=num_slots,
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
# As SPOT scores, but of the whole image.
val_evaluator = dict(
    type='mmocl.ObjectDiscoveryMetric',
    protocol=dict(name='spot320', crop='squash'),
    mask_sources=['segmentor'],
)
test_evaluator = val_evaluator
