# Pictures without annotations: all images below $MMOCL_FOLDER, every tenth held out. There is no
# ground truth to score, so that validation looks for signs of collapse, and draws.
data_root = '{{$MMOCL_FOLDER:data/photos}}'
train_dataloader = dict(
    batch_size=64,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    collate_fn=dict(type='mmocl.stack_inputs'),
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='ImageFolder',
        data_root=data_root,
        split='train',
        pipeline=[
            dict(type='LoadPhoto', min_side=224),
            dict(type='ResizeCrop', size=224, crop='random', backend='torch'),
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
        type='ImageFolder',
        data_root=data_root,
        split='val',
        test_mode=True,
        pipeline=[
            dict(type='LoadPhoto'),
            dict(type='ResizeCrop', size=224, crop='center'),
            dict(type='PackSlotInputs'),
        ],
    ),
)
test_dataloader = val_dataloader
val_evaluator = [dict(type='CollapseMetric'), dict(type='ReconstructionErrorMetric')]
test_evaluator = val_evaluator
