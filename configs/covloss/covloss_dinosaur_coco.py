_base_ = [
    '../_base_/models/slot_attention_dino_mlp.py',
    '../_base_/datasets/coco_224.py',
    '../_base_/schedules/adam_sa_500k.py',
    '../_base_/default_runtime.py',
]
# The wider of the authors' two runs (slots of 256 and 1024): the slots themselves are decorrelated,
# and their variance is held up. Unlike there: images are normalised for the backbone and cropped,
# where theirs are neither (they are squashed); the MLP in front of the head has two layers, not
# three; and `spot320` replaces their FG-ARI, which counts an image with one object as found.
model = dict(
    slot_head=dict(slot_dim=1024, embed_channels=1024, mlp_channels=4096),
    decoder=dict(hidden_channels=3072, num_hidden=3),
    losses=[
        dict(type='ReconstructionLoss'),
        dict(
            type='CovarianceLoss',
            weight=1.0,
            cov_weight=1.0,
            std_weight=1.0,
            gamma=1.0,
            head_channels=None,
            divisor='linear',
        ),
    ],
)
optim_wrapper = dict(clip_grad=dict(max_norm=1.0))
