_base_ = [
    '../_base_/models/slot_attention_dino_mlp.py',
    '../_base_/datasets/coco_224.py',
    '../_base_/schedules/adam_sa_500k.py',
    '../_base_/default_runtime.py',
]
# The authors report COSINELOSS on pixels only; its weight and margin are those of these runs, the
# rest is DINOSAUR as in covloss_dinosaur_coco.py.
model = dict(
    slot_head=dict(slot_dim=1024, embed_channels=1024, mlp_channels=4096),
    decoder=dict(hidden_channels=3072, num_hidden=3),
    losses=[
        dict(type='ReconstructionLoss'),
        dict(type='CosineSlotLoss', weight=0.01, margin=0.2),
    ],
)
optim_wrapper = dict(clip_grad=dict(max_norm=1.0))
