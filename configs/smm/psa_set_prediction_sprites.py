_base_ = [
    '../_base_/models/set_prediction_conv.py',
    '../_base_/datasets/sprites_properties_32.py',
    '../_base_/schedules/adam_sprites.py',
    '../_base_/default_runtime.py',
]
# The head of psa/psa_base_conv_sprites.py.
model = dict(
    slot_head=dict(
        type='ProbabilisticSlotAttention',
        slot_dim=32,
        num_iters=5,
        embed_channels=32,
        projections='q',
        normalize=False,
        variance_space='value',
        logit_scale=1.0,
        min_var=0.5,
        gradient='bilevel',
        initializer=dict(type='GaussianSlots', num_slots=5),
    )
)
