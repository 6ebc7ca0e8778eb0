# slate.py, but slots look at convolutions of the image, from learned queries.
model = dict(
    type='SlotAutoencoder',
    # Images in [0, 1]: the tokenizer's loss is a sum of squares of such.
    data_preprocessor=dict(
        type='SlotDataPreprocessor', mean=(0.0, 0.0, 0.0), std=(255.0, 255.0, 255.0)
    ),
    tokenizer=dict(type='DiscreteVAE', vocab_size=64, channels=64, kernel_size=3),
    backbone=dict(type='ConvEncoder', channels=32, strides=(2, 1), kernel_size=3),
    slot_head=dict(
        type='SlotAttention',
        slot_dim=64,
        num_iters=3,
        gradient='bilevel',
        extra_step=True,
        embed_channels=64,
        mlp_channels=64,
        initializer=dict(type='LearnedSlots', num_slots=5, sigma=1.0),
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
