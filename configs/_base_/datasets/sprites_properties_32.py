# The images of sprites_32.py, with the true properties of their objects in training too.
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
        properties=True,
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
# Positions are fractions of the image; times 6 they span as much as CLEVR's, so that the thresholds
# of the papers mean the same: 1, 0.5, 0.25, 0.125 and 0.0625 are 5.3, 2.7, 1.3, 0.7 and 0.3 pixels.
val_evaluator = dict(
    type='SetPredictionMetric', position='position', categories=('shape',), distance_scale=6.0
)
test_evaluator = val_evaluator
