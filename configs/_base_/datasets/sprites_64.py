# Generated scenes, 64x64: 1 to 4 sprites of dSprites' shapes that may overlap, on one colour an
# image, in place of Multi-dSprites "colored on colored". Nothing is read from disk; every image is
# a function of seed and index.
train_dataloader = dict(
    batch_size=64,
    num_workers=4,
    persistent_workers=True,
    pin_memory=True,
    collate_fn=dict(type='mmocl.stack_inputs'),
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='ColoredSprites', num_images=60000, image_size=64, background='colored', seed=0
    ),
)
val_dataloader = dict(
    batch_size=64,
    num_workers=2,
    persistent_workers=True,
    pin_memory=True,
    collate_fn=dict(type='mmocl.stack_inputs'),
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='ColoredSprites',
        num_images=320,
        image_size=64,
        background='colored',
        seed=1,
        test_mode=True,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(
    type='ObjectDiscoveryMetric', protocol='square128', mask_sources=['decoder', 'attention']
)
test_evaluator = val_evaluator
