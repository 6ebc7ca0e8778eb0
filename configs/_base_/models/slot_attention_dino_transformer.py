model = dict(
    type='SlotAutoencoder',
    data_preprocessor=dict(
        type='SlotDataPreprocessor', mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375)
    ),
    backbone=dict(type='TimmBackbone', model_name='vit_base_patch16_224.dino', pretrained=True),
    slot_head=dict(
        type='SlotAttention',
        slot_dim=256,
        num_iters=3,
        embed_channels=768,
        mlp_channels=1024,
        initializer=dict(type='GaussianSlots', num_slots=7),
    ),
    decoder=dict(type='TransformerDecoder', grid=(14, 14), num_layers=4, num_heads=8),
    target=dict(type='FeatureTarget'),
    losses=[dict(type='ReconstructionLoss')],
)
