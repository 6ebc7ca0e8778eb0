model = dict(
    type='SlotAutoencoder',
    data_preprocessor=dict(type='SlotDataPreprocessor'),
    backbone=dict(type='ConvEncoder', channels=32, strides=(2, 1, 1)),
    slot_head=dict(
        type='SlotAttention',
        slot_dim=64,
        num_iters=3,
        embed_channels=64,
        mlp_channels=128,
        gradient='bilevel',
        initializer=dict(type='LearnedSlots', num_slots=5),
    ),
    decoder=dict(type='SpatialBroadcastDecoder', channels=32, strides=(2, 2)),
    target=dict(type='PixelTarget'),
    losses=[dict(type='ReconstructionLoss')],
)
