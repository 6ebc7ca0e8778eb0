# "PSA" of the released code: no projections, MAP variances.
custom_imports = dict(
    imports=['projects.as_released.psa', 'projects.as_released.psa_slots'],
)
_base_ = ['../../configs/psa/psa_conv_sprites.py']
model = dict(
    slot_head=dict(
        _delete_=True,
        type='ReleasedPSA',
        variant='fixed',
        variance='map',
        # ConvEncoder halves the 32x32 images once.
        num_tokens=256,
        initializer=dict(type='ReleasedPSASlots', num_slots=5),
    ),
)
