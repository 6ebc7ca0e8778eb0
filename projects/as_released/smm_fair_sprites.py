# "FairGMM" of the released code: no transformer, weights that move.
custom_imports = dict(
    imports=['projects.as_released.smm', 'projects.as_released.smm_slots'],
)
_base_ = ['../../configs/psa/psa_conv_sprites.py']
model = dict(
    slot_head=dict(
        _delete_=True,
        type='ReleasedSMM',
        fair=True,
        slot_dim=32,
        embed_channels=64,
        mlp_channels=64,
        initializer=dict(type='ReleasedSMMSlots', num_slots=5),
    ),
)
