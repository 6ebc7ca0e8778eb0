_base_ = [
    '../_base_/models/psa_dino_transformer.py',
    '../_base_/datasets/coco_224.py',
    '../_base_/schedules/adam_500k.py',
    '../_base_/default_runtime.py',
]
