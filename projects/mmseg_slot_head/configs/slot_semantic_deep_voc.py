# With deep supervision over the updates, and a reconstruction of the features beside the labels.
_base_ = ['slot_semantic_voc.py']
model = dict(
    decode_head=dict(
        step_weight=0.5,
        decoder=dict(type='MLPDecoder', grid=(16, 16), hidden_channels=256, num_hidden=2),
        target=dict(type='FeatureTarget', normalize=True),
    )
)
