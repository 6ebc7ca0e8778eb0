# CLEVRTex 'full' below data/clevrtex (or $MMOCL_DATA/clevrtex), all of the image squashed to
# 128x128 as in BO-QSA. The benchmark cuts the centre first: LoadImage(frame=(24, 64, 216, 256)).
# For the other test sets override test_dataloader.dataset with variant='camo', or with
# variant='outd' and split='all'.
data_root = '{{$MMOCL_DATA:data}}/clevrtex'
train_dataloader = dict(
    batch_size=128,
    num_workers=4,
    persistent_workers=True,
    pin_memory=True,
    collate_fn=dict(type='mmocl.stack_inputs'),
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='ClevrTex',
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
        type='ClevrTex',
        data_root=data_root,
        split='val',
        test_mode=True,
        pipeline=[
            dict(type='LoadImage'),
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
        type='ClevrTex',
        data_root=data_root,
        split='test',
        test_mode=True,
        pipeline=[
            dict(type='LoadImage'),
            dict(type='ResizeCrop', size=128, crop='squash', interpolation='bilinear'),
            dict(type='LoadObjectMasks'),
            dict(type='PackSlotInputs'),
        ],
    ),
)
val_evaluator = dict(
    type='ObjectDiscoveryMetric', protocol='square128', mask_sources=['decoder', 'attention']
)
test_evaluator = val_evaluator
