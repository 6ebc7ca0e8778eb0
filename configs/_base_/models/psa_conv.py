model = dict(
    type='SlotAutoencoder',
    data_preprocessor=dict(type='SlotDataPreprocessor'),
    # Small kernels keep tokens local: with 5x5 ones (21 pixels wide in all) slots mixed objects.
    backbone=dict(type='ConvEncoder', channels=32, strides=(2, 1), kernel_size=3),
    slot_head=dict(
        type='ProbabilisticSlotAttention',
        slot_dim=32,
        num_iters=5,
        embed_channels=32,
        # Left free, the variance of one slot widens until it takes small objects in.
        min_var=0.5,
        gradient='bilevel',
        initializer=dict(type='GaussianSlots', num_slots=5),
    ),
    decoder=dict(type='SpatialBroadcastDecoder', channels=24, strides=(2, 2)),
    target=dict(type='PixelTarget'),
    losses=[dict(type='ReconstructionLoss')],
)
