import numpy as np
import pytest

from mmocl.visualization import composition_grid


def flat(value: int) -> np.ndarray:
    return np.full((4, 4, 3), value, np.uint8)


def test_scenes_stand_under_real_images() -> None:
    real = [[flat(10), flat(20), flat(30)], [flat(40), flat(50), flat(60)]]
    scenes = [[flat(70 + i), flat(100 + i)] for i in range(4)]
    picture = composition_grid(scenes, real, width=6, tile=20)
    # A header of 28 and titles of 29 over every band.
    assert picture.shape[0] == 28 + 29 + 20 + 8 + 28 + 29 + 2 * 26 - 6 + 8

    def row(top: int, group: int) -> list[int]:
        lefts = (8 + 26 * j + 12 * (j // group) for j in range(6))
        tiles = [picture[top : top + 20, left : left + 20] for left in lefts]
        return [int(tile[0, 0, 0]) if (tile == tile[0, 0]).all() else -1 for tile in tiles]

    assert row(57, 3) == [10, 20, 30, 40, 50, 60]
    assert row(142, 2) == [70, 100, 71, 101, 72, 102]
    assert row(168, 2) == [73, 103, 255, 255, 255, 255]


def test_scenes_may_have_no_masks_and_nothing_beside_them() -> None:
    picture = composition_grid([[flat(0)]], width=3, tile=40)
    assert (picture[57:97, 8:48] == 0).all()
    with pytest.raises(ValueError, match='no scenes'):
        composition_grid([])
    with pytest.raises(ValueError, match=r'width must be at least 2, .* got 1'):
        composition_grid([[flat(0), flat(0)]], width=1)
