# Everything but the slot head, which the leaves give: encoder as in slot_attention_conv.py.
model = dict(
    type='SlotSetPredictor',
    # The plain background becomes 0.
    data_preprocessor=dict(type='SlotDataPreprocessor', mean=(32.0,) * 3, std=(64.0,) * 3),
    backbone=dict(type='ConvEncoder', channels=32, strides=(2, 1), kernel_size=3),
    decoder=dict(
        type='PropertyDecoder',
        hidden_channels=64,
        # What ColoredSprites have, in its units; orientation is left out, as squares and ellipses
        # look the same at several angles.
        properties=[
            # The range of the centres, as sprites lie inside the image: half the numbers of a
            # prediction that goes unused is a small loss, and positions were not learned with it.
            dict(name='position', size=2, kind='coordinate', low=0.2, high=0.8),
            dict(name='shape', size=3, kind='category', first=1),
            dict(name='color', size=3, kind='value', low=0.0, high=1.0),
            dict(name='scale', size=1, kind='value', low=0.5, high=1.0),
        ],
    ),
    losses=[dict(type='SetPredictionLoss')],
)
