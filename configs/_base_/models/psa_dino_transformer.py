model = dict(
    type='SlotAutoencoder',
    data_preprocessor=dict(
        type='SlotDataPreprocessor', mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375)
    ),
    backbone=dict(type='TimmBackbone', model_name='vit_base_patch16_224.dino', pretrained=True),
    # The mixture is fitted to the normalised tokens themselves, from learned queries.
    slot_head=dict(
        type='ProbabilisticSlotAttention',
        num_iters=3,
        projections='none',
        update='em',
        gradient='bilevel',
        initializer=dict(type='LearnedSlots', num_slots=7),
    ),
    decoder=dict(type='TransformerDecoder', grid=(14, 14), num_layers=4, num_heads=8),
    target=dict(type='FeatureTarget'),
    losses=[dict(type='ReconstructionLoss')],
)
