# psa_conv.py with a decoder that is not additive.
model = dict(
    type='SlotAutoencoder',
    data_preprocessor=dict(type='SlotDataPreprocessor'),
    backbone=dict(type='ConvEncoder', channels=32, strides=(2, 1), kernel_size=3),
    slot_head=dict(
        type='ProbabilisticSlotAttention',
        slot_dim=32,
        num_iters=5,
        embed_channels=32,
        # A trade-off between parting objects and tight masks, see configs/psa/README.md.
        min_var=0.5,
        gradient='bilevel',
        initializer=dict(type='GaussianSlots', num_slots=5),
    ),
    decoder=dict(type='ConvDecoder', channels=24, strides=(2, 2)),
    target=dict(type='PixelTarget'),
    losses=[dict(type='ReconstructionLoss')],
)
