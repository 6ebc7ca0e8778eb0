# Oxford Flowers-17 with trimaps at data/flowers17 (or $MMOCL_DATA/flowers17), squashed to 64x64:
# one flower an image, for small runs on a CPU.
data_root = '{{$MMOCL_DATA:data}}/flowers17'
train_dataloader = dict(
    batch_size=32,
    num_workers=0,
    collate_fn=dict(type='mmocl.stack_inputs'),
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='Flowers17',
        data_root=data_root,
        split='train',
        pipeline=[
            dict(type='LoadImage', min_side=64),
            dict(type='ResizeCrop', size=64, crop='squash', interpolation='bilinear'),
            dict(type='PackSlotInputs'),
        ],
    ),
)
val_dataloader = dict(
    batch_size=32,
    num_workers=0,
    collate_fn=dict(type='mmocl.stack_inputs'),
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='Flowers17',
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
test_dataloader = val_dataloader
val_evaluator = [
    dict(type='ObjectDiscoveryMetric', protocol='square128', mask_sources=['decoder', 'attention']),
    dict(type='ForegroundMetric'),
]
test_evaluator = val_evaluator
