# slot_attention_conv.py without slot attention: all slots by one MLP.
model = dict(
    type='SlotAutoencoder',
    data_preprocessor=dict(type='SlotDataPreprocessor'),
    backbone=dict(type='ConvEncoder', channels=32, strides=(2, 1), kernel_size=3),
    slot_head=dict(
        type='InitialSlots',
        slot_dim=32,
        embed_channels=32,
        initializer=dict(type='PooledSlots', num_slots=5, pool_size=4, hidden_channels=128),
    ),
    decoder=dict(type='SpatialBroadcastDecoder', channels=24, strides=(2, 2)),
    target=dict(type='PixelTarget'),
    losses=[dict(type='ReconstructionLoss')],
)
