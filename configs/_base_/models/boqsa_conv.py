# slot_attention_conv.py with learned queries.
model = dict(
    type='SlotAutoencoder',
    data_preprocessor=dict(type='SlotDataPreprocessor'),
    backbone=dict(type='ConvEncoder', channels=32, strides=(2, 1), kernel_size=3),
    slot_head=dict(
        type='SlotAttention',
        slot_dim=32,
        num_iters=3,
        gradient='bilevel',
        extra_step=True,
        embed_channels=32,
        mlp_channels=64,
        initializer=dict(type='LearnedSlots', num_slots=5, sigma=1.0),
    ),
    decoder=dict(type='SpatialBroadcastDecoder', channels=24, strides=(2, 2)),
    target=dict(type='PixelTarget'),
    losses=[dict(type='ReconstructionLoss')],
)
