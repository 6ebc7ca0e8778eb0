"""Label-map metrics against golden values, scikit-learn and facts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score
from sklearn.metrics.cluster import contingency_matrix

from mmocl.evaluation.functional import (
    adjusted_rand_index,
    ari,
    contingency_table,
    fg_ari,
    iou_matrix,
    mbo,
    mean_best_overlap,
)

label_maps = (
    st.integers(1, 40)
    .flatmap(
        lambda num: st.tuples(
            st.lists(st.integers(-1, 5), min_size=num, max_size=num),
            st.lists(st.integers(0, 6), min_size=num, max_size=num),
        )
    )
    .map(lambda pair: (np.array(pair[0]), np.array(pair[1])))
)


@pytest.mark.parametrize(
    ('metric', 'key', 'sources'),
    [
        (ari, 'ari', ['sklearn', 'boqsa', 'oclf', 'spot', 'videosaur']),
        (fg_ari, 'fg_ari', ['sklearn', 'boqsa', 'oclf', 'spot', 'videosaur']),
        (mbo, 'mbo', ['oclf', 'spot', 'videosaur']),
        (
            lambda true, pred: mbo(true + 1, pred),
            'mbo_with_background',
            ['oclf', 'spot', 'videosaur'],
        ),
    ],
    ids=['ari', 'fg_ari', 'mbo', 'mbo_with_background'],
)
def test_golden(golden_root, metric, key, sources):
    golden = np.load(golden_root / 'metrics_label_maps.npz')
    pairs = list(zip(golden['in.gt_labels'], golden['in.pred_labels'], strict=True))
    assert pairs
    got = [metric(true, pred) for true, pred in pairs]
    for source in sources:
        want = golden[f'out.{key}.{source}.per_image']
        # BO-QSA computes in float32.
        atol = 1e-6 if source == 'boqsa' else 1e-9
        np.testing.assert_allclose(got, want, rtol=0, atol=atol, err_msg=source)
        aggregate = golden[f'out.{key}.{source}.aggregate']
        np.testing.assert_allclose(np.nanmean(got), aggregate, rtol=0, atol=atol, err_msg=source)


@settings(max_examples=200, deadline=None)
@given(label_maps)
def test_ari_equals_sklearn(pair):
    true, pred = pair
    assert ari(true, pred, ignore=None) == pytest.approx(adjusted_rand_score(true, pred), abs=1e-12)
    kept = true != -1
    assert ari(true, pred) == pytest.approx(adjusted_rand_score(true[kept], pred[kept]), abs=1e-12)
    fg = true > 0
    assert fg_ari(true, pred) == pytest.approx(adjusted_rand_score(true[fg], pred[fg]), abs=1e-12)


@settings(max_examples=100, deadline=None)
@given(label_maps)
def test_contingency_equals_sklearn(pair):
    counts, true_ids, pred_ids = contingency_table(*pair)
    assert counts.dtype == np.int64
    np.testing.assert_array_equal(counts, contingency_matrix(*pair))
    np.testing.assert_array_equal(true_ids, np.unique(pair[0]))
    np.testing.assert_array_equal(pred_ids, np.unique(pair[1]))


@settings(max_examples=100, deadline=None)
@given(label_maps, st.permutations(range(5)), st.permutations(range(7)))
def test_ids_are_names_only(pair, true_order, pred_order):
    true, pred = pair
    renamed = np.where(true > 0, np.array([0, *true_order])[np.maximum(true, 0)] + 1, true)
    for metric in (ari, fg_ari, mbo):
        np.testing.assert_allclose(
            metric(renamed, np.array(pred_order)[pred]), metric(true, pred), rtol=0, atol=1e-12
        )


@settings(max_examples=100, deadline=None)
@given(label_maps)
def test_mbo_equals_direct_sum(pair):
    true, pred = pair
    kept = true != -1
    best = []
    for i in np.unique(true[true > 0]):
        a = true == i
        best.append(
            max(
                (a & (pred == j)).sum() / ((a | (pred == j)) & kept).sum()
                for j in np.unique(pred[kept])
            )
        )
    np.testing.assert_allclose(mbo(true, pred), np.mean(best) if best else np.nan, atol=1e-12)


def test_far_apart_ids_give_the_same_table():
    true = np.array([0, 5, 5, 2, 0])
    pred = np.array([1, 1, 3, 3, 0])
    counts, _, _ = contingency_table(true, pred)
    far, true_ids, pred_ids = contingency_table(true * 10**12, pred * 10**15)
    np.testing.assert_array_equal(far, counts)
    assert true_ids.tolist() == [0, 2 * 10**12, 5 * 10**12]
    assert pred_ids.tolist() == [0, 10**15, 3 * 10**15]


def test_no_pixel_left():
    counts, true_ids, pred_ids = contingency_table(np.full((2, 2), -1), np.eye(2, dtype=int), -1)
    assert counts.shape == (0, 0)
    assert len(true_ids) == len(pred_ids) == 0
    assert adjusted_rand_index(counts) == 1.0
    assert np.isnan(mean_best_overlap(iou_matrix(counts)))


def test_shapes_must_agree():
    with pytest.raises(ValueError, match='differ in shape'):
        contingency_table(np.zeros((2, 2), int), np.zeros((2, 3), int))


def test_single_object():
    true = np.zeros((8, 8), int)
    true[2:6, 2:6] = 3
    assert fg_ari(true, np.zeros_like(true)) == 1.0
    split = np.zeros_like(true)
    split[:, 4:] = 1
    assert fg_ari(true, split) == 0.0
    one_pixel_off = np.zeros_like(true)
    one_pixel_off[2, 2] = 1
    assert fg_ari(true, one_pixel_off) == 0.0


def test_large_counts_are_exact():
    # 2e9 pixels: the products need 125 bits. Two halves against two shifted halves; from the
    # definition with h = n/2, d pixels on the wrong side.
    half, wrong = 10**9, 12345
    counts = np.array([[half - wrong, wrong], [wrong, half - wrong]])
    num = 2 * half
    both = 2 * ((half - wrong) * (half - wrong - 1) + wrong * (wrong - 1))
    side = 2 * half * (half - 1)
    want = (both * num * (num - 1) - side**2) / (side * num * (num - 1) - side**2)
    assert adjusted_rand_index(counts) == want
    assert adjusted_rand_index(counts.astype(np.int32)) == want
    assert adjusted_rand_index(np.diag([half, half, half])) == 1.0


def test_320_pixels_equal_sklearn():
    rng = np.random.default_rng(0)
    true = rng.integers(0, 12, (320, 320))
    pred = np.where(rng.random(true.shape) < 0.3, rng.integers(0, 7, true.shape), true % 7)
    want = adjusted_rand_score(true.ravel(), pred.ravel())
    assert ari(true, pred) == pytest.approx(want, abs=1e-12)
    # Small integer types must not overflow either.
    assert ari(true.astype(np.int16), pred.astype(np.uint8)) == ari(true, pred)


def test_ignored_pixels_leave_the_union():
    true = np.array([[1, 1, -1, -1, 0]])
    pred = np.array([[0, 0, 0, 0, 1]])
    assert mbo(true, pred) == 1.0
    assert mbo(true, pred, ignore=None) == 0.5
