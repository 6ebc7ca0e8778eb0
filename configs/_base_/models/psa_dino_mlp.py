model = dict(
    type='SlotAutoencoder',
    data_preprocessor=dict(
        type='SlotDataPreprocessor', mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375)
    ),
    backbone=dict(type='TimmBackbone', model_name='vit_base_patch16_224.dino', pretrained=True),
    slot_head=dict(
        type='ProbabilisticSlotAttention',
        slot_dim=256,
        num_iters=3,
        embed_channels=768,
        mlp_channels=1024,
        initializer=dict(type='GaussianSlots', num_slots=7),
    ),
    decoder=dict(type='MLPDecoder', grid=(14, 14), hidden_channels=2048, num_hidden=3),
    target=dict(type='FeatureTarget'),
    losses=[dict(type='ReconstructionLoss')],
)
