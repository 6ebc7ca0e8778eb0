# slate.py with the head of psa/psa_base_conv_sprites.py.
model = dict(
    type='SlotAutoencoder',
    # Images in [0, 1]: the tokenizer's loss is a sum of squares of such.
    data_preprocessor=dict(
        type='SlotDataPreprocessor', mean=(0.0, 0.0, 0.0), std=(255.0, 255.0, 255.0)
    ),
    tokenizer=dict(type='DiscreteVAE', vocab_size=64, channels=64),
    backbone=dict(type='TokenBackbone', channels=64),
    slot_head=dict(
        type='ProbabilisticSlotAttention',
        slot_dim=64,
        num_iters=5,
        embed_channels=64,
        projections='q',
        normalize=False,
        variance_space='value',
        logit_scale=1.0,
        min_var=0.5,
        gradient='bilevel',
        initializer=dict(type='GaussianSlots', num_slots=5),
    ),
    decoder=dict(
        type='TransformerDecoder',
        grid=(8, 8),
        channels=64,
        num_layers=2,
        num_heads=4,
        dropout=0.1,
        blocks='slate',
    ),
    target=dict(type='TokenTarget'),
    losses=[dict(type='TokenCrossEntropyLoss')],
)
