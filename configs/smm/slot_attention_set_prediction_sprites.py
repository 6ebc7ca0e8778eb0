_base_ = [
    '../_base_/models/set_prediction_conv.py',
    '../_base_/datasets/sprites_properties_32.py',
    '../_base_/schedules/adam_sprites.py',
    '../_base_/default_runtime.py',
]
# The head of slot_attention_conv.py, with the gradient that SMM's paper trains it with.
model = dict(
    slot_head=dict(
        type='SlotAttention',
        slot_dim=32,
        num_iters=3,
        gradient='implicit',
        extra_step=True,
        embed_channels=32,
        mlp_channels=64,
        initializer=dict(type='GaussianSlots', num_slots=5),
    )
)
