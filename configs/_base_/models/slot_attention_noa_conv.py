# slot_attention_conv.py with a decoder that is not additive.
model = dict(
    type='SlotAutoencoder',
    data_preprocessor=dict(type='SlotDataPreprocessor'),
    # As in psa_conv.py.
    backbone=dict(type='ConvEncoder', channels=32, strides=(2, 1), kernel_size=3),
    slot_head=dict(
        type='SlotAttention',
        slot_dim=32,
        num_iters=3,
        embed_channels=32,
        mlp_channels=64,
        initializer=dict(type='GaussianSlots', num_slots=5),
    ),
    decoder=dict(type='ConvDecoder', channels=24, strides=(2, 2)),
    target=dict(type='PixelTarget'),
    losses=[dict(type='ReconstructionLoss')],
)
