# Easy generated scenes, 32x32: 2 to 4 sprites of dSprites' shapes on a plain background, their
# centres at least a quarter of the image apart, so that few overlap much.
# Nothing is read from disk; every image is a function of seed and index.
train_dataloader = dict(
    batch_size=32,
    num_workers=0,
    collate_fn=dict(type='mmocl.stack_inputs'),
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='ColoredSprites',
        num_images=20000,
        image_size=32,
        min_objects=2,
        min_distance=0.25,
        background='plain',
        seed=0,
    ),
)
val_dataloader = dict(
    batch_size=64,
    num_workers=0,
    collate_fn=dict(type='mmocl.stack_inputs'),
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='ColoredSprites',
        num_images=320,
        image_size=32,
        min_objects=2,
        min_distance=0.25,
        background='plain',
        seed=1,
        test_mode=True,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(
    type='ObjectDiscoveryMetric', protocol='square128', mask_sources=['decoder', 'attention']
)
test_evaluator = val_evaluator
