"""The sprites' formulas against real dSprites frames, whose factors are known: no fitting here."""

from pathlib import Path

import numpy as np
import pytest

from mmocl.datasets.synthetic.sprites import MAX_RADIUS, SHAPES, sprite_mask


def _factors() -> list[tuple[float, float, tuple[float, float]]]:
    """Scale, angle and centre (pixels) of dsprites.gif: 6 scales, 39 angles, a tour of 4 sides."""
    sides = 16 + np.arange(1, 32) * 32 / 31
    tour = [(16, y) for y in sides] + [(x, 48) for x in sides]
    tour += [(48, 64 - y) for y in sides] + [(64 - x, 16) for x in sides[:-1]]
    frames = [(0.5 + 0.1 * k, 0.0, (16, 16)) for k in range(6)]
    frames += [(1.0, 2 * np.pi * k / 39, (16, 16)) for k in range(1, 39)]
    return frames + [(1.0, 0.0, xy) for xy in tour]


def _iou(a: np.ndarray, b: np.ndarray) -> float:
    return (a & b).sum() / (a | b).sum()


@pytest.mark.parametrize(
    ('shape', 'num_frames', 'median', 'low'),
    [(1, 43, 1, 0.985), (2, 44, 1, 0.99), (3, 167, 0.995, 0.975)],
)
def test_real_frames(
    data_root: Path, shape: int, num_frames: int, median: float, low: float
) -> None:
    arrays = np.load(data_root / 'dsprites' / 'dsprites_sample.npz')
    frames = arrays['imgs'][arrays['shape'] == shape].astype(bool)
    assert len(frames) == num_frames
    factors = _factors()
    ious = []
    for i, frame in enumerate(frames):
        # Frames that repeat are missing, so that one may come a step later than its index says.
        ious.append(
            max(
                _iou(frame, sprite_mask(shape, scale, angle, (x / 64, y / 64), 64))
                for scale, angle, (x, y) in factors[i : i + 2]
            )
        )
    print(f'{SHAPES[shape]}: IoU median {np.median(ious):.4f} min {min(ious):.4f}')
    assert np.median(ious) >= median
    assert min(ious) >= low


@pytest.mark.parametrize('shape', SHAPES)
def test_max_radius_bounds_every_sprite(shape: int) -> None:
    mask = sprite_mask(shape, 2.0, 0.3, (0.5, 0.5), 512)
    y, x = np.nonzero(mask)
    radius = np.hypot(x + 0.5 - 256, y + 0.5 - 256).max() / 512
    assert 0.7 * 2 * MAX_RADIUS < radius <= 2 * MAX_RADIUS


@pytest.mark.parametrize('shape', SHAPES)
def test_area_grows_with_scale_and_resolution(shape: int) -> None:
    small, large = (sprite_mask(shape, s, 0.5, (0.5, 0.5), 256).sum() for s in (0.5, 1.0))
    assert large / small == pytest.approx(4, rel=0.03)
    half = sprite_mask(shape, 1.0, 0.5, (0.5, 0.5), 128).sum()
    assert large / half == pytest.approx(4, rel=0.03)


def test_angle_turns_counter_clockwise() -> None:
    """At 90 degrees the heart's lobes, on top at 0, point to the left."""
    upright = sprite_mask(3, 1.0, 0.0, (0.5, 0.5), 64)
    np.testing.assert_array_equal(sprite_mask(3, 1.0, np.pi / 2, (0.5, 0.5), 64), np.rot90(upright))
    assert np.nonzero(upright)[0].mean() < 31.5


def test_sprite_is_cut_at_the_border() -> None:
    whole = sprite_mask(1, 1.0, 0.0, (0.5, 0.5), 64).sum()
    assert sprite_mask(1, 1.0, 0.0, (0.0, 0.0), 64).sum() == pytest.approx(whole / 4, rel=0.1)
    assert not sprite_mask(1, 1.0, 0.0, (2.0, 0.5), 64).any()


def test_unknown_shape() -> None:
    with pytest.raises(ValueError, match=r'shape must be one of .*got 4'):
        sprite_mask(4, 1.0, 0.0, (0.5, 0.5), 64)
