# mmocl's model, whose backbone the configs choose; learned slots, so that a test is repeatable.
model = dict(
    type='SlotAutoencoder',
    data_preprocessor=dict(
        type='SlotDataPreprocessor', mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375)
    ),
    slot_head=dict(
        type='SlotAttention',
        slot_dim=256,
        num_iters=3,
        gradient='bilevel',
        embed_channels=384,
        mlp_channels=1024,
        initializer=dict(type='LearnedSlots', num_slots=6),
    ),
    losses=[dict(type='ReconstructionLoss')],
)
