"""What scores of masks are called, and what they mean."""

#: By name in the results, without the prefix of the masks; all are shares of one.
SCORE_NAMES = {
    'fg_ari': (
        'FG-ARI',
        'are pixels of one object in one slot, and of two in two? Background aside',
    ),
    'fg_ari_multi': ('FG-ARI, 2+ objects', 'the same over images with two objects or more'),
    'ari': ('ARI', 'the same over all pixels, the background one more object'),
    'mbo_i': ('mBO, instances', 'mean overlap (IoU) of every object with its best slot'),
    'mbo_c': ('mBO, classes', 'the same with all objects of a class as one'),
    'miou': ('mIoU', 'the same, but a slot serves one object at most'),
    'corloc': ('CorLoc', 'share of images with an object that a slot covers by more than half'),
    'recall': ('Recall', 'share of objects that a slot covers by more than half'),
}
