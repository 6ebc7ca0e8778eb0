from mmocl.evaluation.functional.ari import adjusted_rand_index, ari, fg_ari
from mmocl.evaluation.functional.contingency import contingency_table
from mmocl.evaluation.functional.foreground import foreground_overlap
from mmocl.evaluation.functional.label_map import label_map
from mmocl.evaluation.functional.overlap import iou_matrix, mbo, mean_best_overlap
from mmocl.evaluation.functional.property_ap import SetMatch, match_set, property_ap

__all__ = [
    'SetMatch',
    'adjusted_rand_index',
    'ari',
    'contingency_table',
    'fg_ari',
    'foreground_overlap',
    'iou_matrix',
    'label_map',
    'match_set',
    'mbo',
    'mean_best_overlap',
    'property_ap',
]
