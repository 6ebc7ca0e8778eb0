_base_ = [
    '../_base_/models/set_prediction_conv.py',
    '../_base_/datasets/clevr_scenes_128.py',
    '../_base_/schedules/adamw_onecycle_150k.py',
    '../_base_/default_runtime.py',
]
# The settings of SMM's released code: batches of 512, at most 10 objects, all scenes. Unlike there
# slots start from a shared Gaussian, not from one that a transformer reads off the tokens.
model = dict(
    data_preprocessor=dict(mean=(127.5, 127.5, 127.5), std=(127.5, 127.5, 127.5)),
    backbone=dict(channels=64, strides=(1, 2, 2, 1), kernel_size=5),
    slot_head=dict(
        type='SlotMixture',
        slot_dim=64,
        num_iters=7,
        gradient='implicit',
        extra_step=True,
        embed_channels=64,
        mlp_channels=128,
        initializer=dict(type='GaussianSlots', num_slots=10),
    ),
    decoder=dict(
        properties=[
            dict(name='position', size=3, kind='coordinate', low=-1.0, high=1.0),
            dict(name='size', size=2, kind='category'),
            dict(name='material', size=2, kind='category'),
            dict(name='shape', size=3, kind='category'),
            dict(name='color', size=8, kind='category'),
        ]
    ),
)
val_evaluator = dict(
    type='SetPredictionMetric',
    position='position',
    categories=('size', 'material', 'shape', 'color'),
    # Coordinates come divided by 3.
    distance_scale=3.0,
)
test_evaluator = val_evaluator
