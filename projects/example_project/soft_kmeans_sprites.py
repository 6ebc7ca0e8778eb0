# Imported when the config is loaded, which registers the head.
custom_imports = dict(imports=['projects.example_project.soft_kmeans'])
_base_ = ['../../configs/slot_attention/slot_attention_conv_sprites.py']
model = dict(
    slot_head=dict(
        _delete_=True,
        type='SoftKMeans',
        slot_dim=64,
        embed_channels=64,
        gradient='bilevel',
        initializer=dict(type='LearnedSlots', num_slots=5),
    ),
)
