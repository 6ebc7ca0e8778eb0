# A few COCO images as tokens of a small ViT, which tools/cache_features.py writes once, for the
# splits train and val; see configs/dinosaur/README.md.
data_root = '{{$MMOCL_DATA:data}}/coco'
tokens = 'work_dirs/coco_tokens'
train_dataloader = dict(
    batch_size=16,
    num_workers=0,
    collate_fn=dict(type='mmocl.stack_inputs'),
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='CocoObjects',
        data_root=data_root,
        split='train2017',
        token_cache=f'{tokens}/train',
        pipeline=[
            dict(type='LoadImage', min_side=224),
            dict(type='ResizeCrop', size=224, crop='center'),
            dict(type='PackSlotInputs'),
        ],
    ),
)
val_dataloader = dict(
    batch_size=16,
    num_workers=0,
    collate_fn=dict(type='mmocl.stack_inputs'),
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='CocoObjects',
        data_root=data_root,
        split='val2017',
        test_mode=True,
        token_cache=f'{tokens}/val',
        pipeline=[
            dict(type='LoadImage'),
            dict(type='ResizeCrop', size=224, crop='center'),
            dict(type='LoadObjectMasks'),
            dict(type='PackSlotInputs'),
        ],
    ),
)
test_dataloader = val_dataloader
val_evaluator = [
    dict(type='ObjectDiscoveryMetric', protocol='spot320', mask_sources=['decoder', 'attention']),
    dict(type='ReconstructionErrorMetric'),
    dict(type='SlotCovarianceMetric'),
]
test_evaluator = val_evaluator
