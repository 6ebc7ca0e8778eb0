import numpy as np
import pytest

from mmocl.visualization import palette, principal_axes, slot_embedding


def test_axes_are_those_of_the_greatest_variance() -> None:
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(500, 3)) * [5.0, 2.0, 0.5]
    rotation, _ = np.linalg.qr(rng.normal(size=(8, 3)))
    points, explained = principal_axes((hidden @ rotation.T + 3).astype(np.float32))
    for axis, column in enumerate(points.T):
        correlation = np.corrcoef(column, hidden[:, axis])[0, 1]
        assert abs(correlation) > 0.99
    variances = hidden.var(axis=0)
    assert explained == pytest.approx(variances[:2] / variances.sum(), abs=0.01)
    assert points.mean(axis=0) == pytest.approx([0, 0], abs=1e-5)
    for vectors in rng.normal(size=(5, 20, 4)):
        points = principal_axes(vectors).points
        covariances = (vectors - vectors.mean(axis=0)).T @ points
        largest = np.abs(covariances).argmax(axis=0)
        assert (covariances[largest, [0, 1]] > 0).all()
    points, _ = principal_axes((hidden @ rotation.T + 3).astype(np.float32))
    # Neither the order of the points nor the number of zero columns turns the picture.
    again, _ = principal_axes(np.pad(hidden @ rotation.T + 3, ((0, 0), (0, 2))))
    assert again == pytest.approx(points, abs=1e-4)


def test_few_dimensions_and_points_are_drawn_too() -> None:
    points, explained = principal_axes(np.array([[1.0], [3.0]]))
    assert points.tolist() == [[-1, 0], [1, 0]]
    assert explained.tolist() == [1, 0]
    points, explained = principal_axes(np.ones((1, 4)))
    assert (points == 0).all()
    assert (explained == 0).all()
    for vectors in (np.zeros((0, 3)), np.array([[np.nan]])):
        with pytest.raises(ValueError, match='expected finite vectors'):
            principal_axes(vectors)


def test_points_have_the_colours_of_their_slots() -> None:
    slots = np.array([[[0.0, 0.0], [9.0, 0.0], [0.0, 5.0]]])
    active = np.array([[True, True, False]])
    picture = slot_embedding(slots, active, size=200)
    assert picture.shape == (200, 200, 3)
    present = {tuple(color) for color in picture.reshape(-1, 3).tolist()}
    drawn = [tuple(color) in present for color in palette(3).tolist()]
    assert drawn == [True, True, False]
    with pytest.raises(ValueError, match=r'none of 1 x 3 slots is active'):
        slot_embedding(slots, np.zeros((1, 3), bool))


def test_crops_stand_at_their_points_and_not_over_each_other() -> None:
    slots = np.concatenate([np.zeros((30, 2, 2)), np.full((1, 2, 2), 9.0)])
    green = np.full((16, 16, 3), (0, 250, 0), np.uint8)
    red = np.full((16, 16, 3), (250, 0, 0), np.uint8)
    crops = [[green, red]] * 30 + [[None, None]]
    picture = slot_embedding(slots, crops=crops, size=300)
    assert not (picture == (250, 0, 0)).all(axis=2).any()
    share = (picture == (0, 250, 0)).all(axis=2)
    # One for the cluster at the left; the far point has none.
    assert 0.5 * 18**2 < share.sum() < 2 * 18**2
    columns = np.nonzero(share)[1]
    assert columns.max() - columns.min() < 30
