_base_ = [
    '../_base_/models/slot_attention_conv.py',
    '../_base_/datasets/clevr6_128.py',
    '../_base_/schedules/adam_sa_500k.py',
    '../_base_/default_runtime.py',
]
# The paper's runs are of SLATE with this slot attention, and need neither warm-up nor decay of the
# learning rate; here are the auto-encoder and the schedule of Slot Attention.
model = dict(
    backbone=dict(channels=64, strides=(1, 1, 1, 1), kernel_size=5),
    slot_head=dict(
        slot_dim=64,
        embed_channels=64,
        mlp_channels=128,
        gradient='implicit',
        extra_step=True,
        initializer=dict(num_slots=7),
    ),
    decoder=dict(channels=64, strides=(2, 2, 2, 2, 1)),
)
