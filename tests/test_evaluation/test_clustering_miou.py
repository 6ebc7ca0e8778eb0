"""Clusters of slots against classes: the pure function, and the metric in the evaluator."""

import builtins

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.evaluator import Evaluator
from mmengine.structures import InstanceData, PixelData
from sklearn.metrics import jaccard_score

from mmocl.evaluation.functional import clustering_iou
from mmocl.evaluation.metrics import ClusteringMiouMetric
from mmocl.registry import METRICS
from mmocl.structures import SlotDataSample

tables = st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(0, 2**32 - 1)).map(
    lambda x: np.random.default_rng(x[2]).integers(0, 20, x[:2])
)
OPTIONS = [
    ('hungarian', 'class'),
    ('hungarian', 'unmatched'),
    ('hungarian', 'ignore'),
    ('majority', 'class'),
    ('majority', 'ignore'),
]


@settings(max_examples=60, deadline=None)
@given(tables, st.randoms(use_true_random=False))
@pytest.mark.parametrize(('matching', 'background'), OPTIONS)
def test_order_of_clusters_and_classes(matching, background, counts, random):
    scores = clustering_iou(counts, matching, background)
    rows, cols = list(range(len(counts))), list(range(1, counts.shape[1]))
    random.shuffle(rows)
    random.shuffle(cols)
    shuffled = clustering_iou(counts[rows][:, [0, *cols]], matching, background)
    # A tie of two assignments may shift a class, never their sum.
    if matching == 'hungarian' and background != 'unmatched':
        assert np.nansum(scores.iou) == pytest.approx(np.nansum(shuffled.iou))
    assert 0 <= np.nan_to_num(scores.iou).min() <= np.nan_to_num(scores.iou).max() <= 1


@settings(max_examples=25, deadline=None)
@given(tables)
@pytest.mark.parametrize(('matching', 'background'), OPTIONS)
def test_iou_is_jaccard_of_named_pixels(matching, background, counts):
    """Whatever the assignment: draw the pixels, name them by the best one, score with sklearn."""
    scores = clustering_iou(counts, matching, background)
    cluster, true = (
        index.repeat(counts.ravel()) for index in np.indices(counts.shape).reshape(2, -1)
    )
    if background == 'ignore':
        cluster, true = cluster[true > 0], true[true > 0]
    classes = np.unique(true)
    assert np.flatnonzero(~np.isnan(scores.iou)).tolist() == classes.tolist()
    if not true.size:
        assert np.isnan(scores.accuracy)
        return
    # All ways to name clusters; 99 is no class.
    allowed = [*classes, *([] if matching == 'majority' else [99])]
    found = []
    for names in np.stack(np.meshgrid(*[allowed] * len(counts)), axis=-1).reshape(-1, len(counts)):
        proper = names[names != 99]
        if matching == 'hungarian' and background != 'unmatched':
            if len(set(proper)) < len(proper):
                continue
        elif background == 'unmatched' and (99 in names or (np.bincount(proper)[1:] > 1).any()):
            continue
        found.append(named_iou(true, names[cluster], classes))
    got = np.append(scores.iou[classes], scores.accuracy)
    assert any(np.allclose(got, one) for one in found)


def named_iou(true, pred, classes):
    iou = [((true == c) & (pred == c)).sum() / ((true == c) | (pred == c)).sum() for c in classes]
    return np.append(iou, (true == pred).mean())


def test_by_hand():
    # Cluster 0: class 1; 1 and 2: class 2; 3: the background.
    counts = np.array([[2, 8, 0], [0, 0, 6], [4, 0, 6], [20, 2, 0]])
    hungarian = clustering_iou(counts)
    np.testing.assert_allclose(hungarian.iou, [20 / 28, 8 / 12, 6 / 12])
    assert hungarian.accuracy == pytest.approx((20 + 8 + 6) / 48)
    majority = clustering_iou(counts, 'majority')
    np.testing.assert_allclose(majority.iou, [20 / 28, 8 / 12, 12 / 16])
    ignored = clustering_iou(counts, 'majority', 'ignore')
    # Off the background, cluster 3 is of class 1.
    np.testing.assert_allclose(ignored.iou, [np.nan, 1, 1])
    # Clusters 1 (or 2) and 3 are left for the background.
    unmatched = clustering_iou(counts, background='unmatched')
    np.testing.assert_allclose(unmatched.iou, [24 / 34, 8 / 12, 6 / 12])


def test_perfect_clusters_equal_sklearn():
    rng = np.random.default_rng(0)
    true = rng.integers(0, 4, 500)
    pred = np.where(rng.random(500) < 0.8, true, rng.integers(0, 4, 500))
    counts = np.zeros((4, 4), int)
    np.add.at(counts, (np.array([2, 0, 3, 1])[pred], true), 1)
    want = jaccard_score(true, pred, average=None)
    for matching in ('hungarian', 'majority'):
        np.testing.assert_allclose(clustering_iou(counts, matching).iou, want)


def test_wrong_options():
    for kwargs, text in (
        ({'matching': 'best'}, r"matching must be one of .*'majority'.* got 'best'"),
        ({'background': 'no'}, "background must be one of .* got 'no'"),
        ({'matching': 'majority', 'background': 'unmatched'}, "needs matching='hungarian'"),
    ):
        with pytest.raises(ValueError, match=text):
            clustering_iou(np.eye(2, dtype=int), **kwargs)
        with pytest.raises(ValueError, match=text):
            ClusteringMiouMetric(2, **kwargs)


def make_sample(img_id, objects, slots, labels, kinds, size=32, crowd=None):
    """Image of vertical stripes; slots of a kind lie close together."""
    sample = SlotDataSample(metainfo={'img_id': img_id})
    masks, soft = torch.zeros(len(objects), size, size), torch.zeros(len(slots), size, size)
    for mask, (start, stop) in zip([*masks, *soft], [*objects, *slots], strict=True):
        mask[:, start:stop] = 1
    sample.gt_objects = InstanceData(
        masks=masks.bool(),
        labels=torch.tensor(labels, dtype=torch.int64),
        crowd=torch.tensor(crowd or [False] * len(objects), dtype=torch.bool),
    )
    noise = torch.randn(len(slots), 8, generator=torch.Generator().manual_seed(img_id))
    sample.pred_slots = InstanceData(
        slots=10 * torch.eye(8)[kinds] + 0.01 * noise,
        active=torch.ones(len(slots), dtype=torch.bool),
    )
    sample.pred_masks = PixelData(data=soft)
    return sample


@pytest.fixture
def samples():
    """Categories 7 and 0 (not the background), each first in some image; kind 0 is background."""
    return [
        make_sample(1, [(0, 8), (8, 16)], [(0, 8), (8, 16), (16, 32)], [7, 0], [1, 2, 0]),
        make_sample(2, [(0, 8)], [(16, 32), (0, 0), (0, 16)], [7], [0, 3, 1]),
        make_sample(3, [(8, 16)], [(0, 8), (8, 16), (16, 32)], [0], [0, 2, 0]),
    ]


def evaluate(samples, num_clusters=3, batch_size=1, **kwargs):
    evaluator = Evaluator(ClusteringMiouMetric(num_clusters, **{'protocol': 'square128', **kwargs}))
    for start in range(0, len(samples), batch_size):
        evaluator.process(samples[start : start + batch_size])
    return evaluator.evaluate(len(samples))


def test_values(samples):
    results = evaluate(samples)
    assert all(type(value) is float for value in results.values())
    # Category 7 has 16 columns and gets 24; the background has 64 and gets 56.
    assert results['cluster/miou'] == pytest.approx((56 / 64 + 16 / 24 + 1) / 3)
    assert results['cluster/miou_objects'] == pytest.approx((16 / 24 + 1) / 2)
    assert results['cluster/accuracy'] == pytest.approx((96 - 8) / 96)
    # The slot without a pixel is not clustered.
    assert results['cluster/num_slots'] == 8
    assert results['cluster/num_images'] == results['cluster/num_classes'] == 3
    ignored = evaluate(samples, background='ignore')
    assert ignored['cluster/miou'] == ignored['cluster/miou_objects'] == 1
    assert evaluate(samples, background='unmatched') == pytest.approx(results)


def test_more_clusters_than_classes(samples):
    """Each slot alone: one cluster a class, or all that vote for it."""
    assert evaluate(samples, 8, matching='majority') == pytest.approx(evaluate(samples))
    assert evaluate(samples, 8)['cluster/miou'] < 0.6


@pytest.mark.parametrize('batch_size', [2, 3])
def test_batches_and_runs_change_nothing(samples, batch_size):
    assert evaluate(samples, batch_size=batch_size) == evaluate(samples)


def test_order_of_images_changes_nothing(samples):
    assert evaluate(samples[::-1]) == pytest.approx(evaluate(samples))


def test_categories_with_crowds_and_overlaps():
    """Class ids of a protocol count the categories it kept; 2 is a crowd's."""
    slots, kinds = [(0, 8), (8, 16), (16, 32)], [1, 2, 0]
    samples = [
        make_sample(1, [(0, 8), (8, 16)], slots, [2, 3], kinds, crowd=[True, False]),
        make_sample(2, [(0, 8), (8, 16)], slots, [1, 3], kinds),
    ]
    metric = ClusteringMiouMetric(3, protocol='square128')
    metric.process(None, [sample.to_dict() for sample in samples])
    assert [record['categories'].tolist() for record in metric.results] == [[3], [1, 3]]
    assert evaluate(samples, protocol='spot320')['cluster/num_classes'] == 4
    # Where classes overlap, the highest category is drawn; the other one keeps its id.
    sample = make_sample(1, [(0, 16), (8, 24)], slots, [4, 5], kinds)
    metric = ClusteringMiouMetric(3, protocol='oclf320')
    metric.process(None, [sample.to_dict()])
    assert metric.results[0]['categories'].tolist() == [4, 5]
    assert (metric.results[0]['objects'].sum(axis=1) / 320**2).tolist() == [1 / 4, 1 / 2]


def test_records_hold_no_maps(samples):
    metric = ClusteringMiouMetric(3, protocol='square128')
    metric.process(None, [sample.to_dict() for sample in samples])
    record = metric.results[1]
    assert record['slots'].dtype == np.float32
    assert (record['slots'].shape, record['objects'].shape) == ((2, 8), (1, 2))
    assert record['background'].sum() + record['objects'].sum() == 128**2


def test_length_of_slots_can_be_left_out(samples):
    for sample in samples:
        sample.pred_slots.slots *= torch.tensor([[1.0], [100.0], [1000.0]])
    assert evaluate(samples)['cluster/miou'] < 0.8
    assert evaluate(samples, normalize=True)['cluster/miou'] > 0.8


def test_no_object_at_all():
    empty = make_sample(1, [], [(0, 16), (16, 32)], [], [0, 1])
    results = evaluate([empty], 2)
    assert results['cluster/num_classes'] == 1
    assert np.isnan(results['cluster/miou_objects'])
    assert np.isnan(evaluate([empty], 2, background='ignore')['cluster/miou'])


def test_half_precision_slots(samples):
    for sample in samples:
        sample.pred_slots.slots = sample.pred_slots.slots.bfloat16()
    assert evaluate(samples)['cluster/num_slots'] == 8


def test_bad_input(samples, monkeypatch):
    metric = METRICS.build({'type': 'ClusteringMiouMetric', 'num_clusters': 3})
    sample = samples[0].to_dict()
    with pytest.raises(ValueError, match="image 1 has no 'pred_slots', which are clustered"):
        metric.process(None, [{k: v for k, v in sample.items() if k != 'pred_slots'}])
    short = {**sample, 'pred_slots': {'slots': torch.zeros(2, 8)}}
    with pytest.raises(ValueError, match='image 1 has 2 slots, but 3 masks'):
        metric.process(None, [short])
    with pytest.raises(ValueError, match='slots of image 1 hold NaN'):
        metric.process(None, [{**sample, 'pred_slots': {'slots': torch.full((3, 8), np.nan)}}])
    assert not metric.results
    with pytest.raises(ValueError, match='num_clusters=9 needs as many slots, but only 8 win'):
        evaluate(samples, 9)
    with pytest.raises(ValueError, match='must be positive, got 0 and 3'):
        ClusteringMiouMetric(0)
    with pytest.raises(ValueError, match='mask_sources must be among'):
        ClusteringMiouMetric(3, mask_source='slots')

    real = builtins.__import__
    monkeypatch.setattr('mmocl.require_module.import_module', lambda name: real(f'no_such_{name}'))
    with pytest.raises(ImportError, match=r"sklearn could not be .*'mmocl\[evaluation\]'"):
        ClusteringMiouMetric(3)
