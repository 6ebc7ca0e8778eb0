# "SelfAttentionGMM" of the released code: a transformer in front, weights that never move.
custom_imports = dict(imports=['projects.as_released.smm'])
_base_ = ['../../configs/psa/psa_conv_sprites.py']
model = dict(
    slot_head=dict(
        _delete_=True,
        type='ReleasedSMM',
        slot_dim=32,
        embed_channels=64,
        mlp_channels=64,
        initializer=dict(type='ReleasedSMMFrontSlots', num_slots=5, mlp_channels=64),
    ),
)
