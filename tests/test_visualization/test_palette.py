import colorsys

import numpy as np
import pytest
from color_vision import VISIONS, ciede2000, least_difference, to_lab

from mmocl.visualization.drawing import palette as palette_of_drawing
from mmocl.visualization.palette import BLACK, GREY, NUM_COLORS, WHITE, palette


def old_palette(num_colors: int) -> np.ndarray:
    """What mmocl drew before: hues a golden angle apart."""
    hues = (np.arange(num_colors) * 0.618034) % 1
    values = np.where(np.arange(num_colors) % 2, 0.75, 1.0)
    rgb = [colorsys.hsv_to_rgb(hue, 0.75, value) for hue, value in zip(hues, values, strict=True)]
    return (np.array(rgb) * 255).astype(np.uint8)


def test_ciede2000_gives_published_differences() -> None:
    # Sharma et al. 2005, table 1, pairs 1, 4, 7, 16, 18 and 25.
    pairs = [
        ([50, 2.6772, -79.7751], [50, 0, -82.7485], 2.0425),
        ([50, -1.3802, -84.2814], [50, 0, -82.7485], 1.0000),
        ([50, 0, 0], [50, -1, 2], 2.3669),
        ([50, 2.5, 0], [50, 0, -2.5], 4.3065),
        ([50, 2.5, 0], [61, -5, 29], 22.8977),
        ([60.2574, -34.0099, 36.2677], [60.4626, -34.1751, 39.4387], 1.2644),
    ]
    for first, second, expected in pairs:
        assert ciede2000(np.array(first), np.array(second)) == pytest.approx(expected, abs=1e-4)


def test_a_slot_keeps_its_colour_however_many_there_are() -> None:
    most = palette(NUM_COLORS)
    assert (most[:7] == [[*bytes.fromhex(c)] for c in OKABE_ITO]).all()
    for num_colors in (0, 1, 7, 8, 254):
        assert (palette(num_colors) == most[:num_colors]).all()
    assert (palette(300)[NUM_COLORS:] == most[:45]).all()
    assert palette_of_drawing is palette
    # A caller may change what he got.
    palette(3)[:] = 0
    assert (palette(3) == most[:3]).all()
    with pytest.raises(ValueError, match='num_colors must be at least 0, got -1'):
        palette(-1)


OKABE_ITO = ['E69F00', '56B4E9', '009E73', 'F0E442', '0072B2', 'D55E00', 'CC79A7']


@pytest.mark.parametrize('vision', VISIONS)
def test_colours_differ_for_every_vision_and_more_than_before(vision) -> None:
    for num_colors in (2, 5, 7, 8, 11, 12):
        new = least_difference(palette(num_colors), vision)
        assert new > 10.8
        if vision != 'normal' and num_colors >= 7:
            assert new > least_difference(old_palette(num_colors), vision) + 1
    assert least_difference(palette(NUM_COLORS), vision) > 1.9
    if vision in ('protanopia', 'deuteranopia'):
        assert least_difference(old_palette(7), vision) < 3


def test_no_colour_is_black_grey_or_white() -> None:
    greys = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
    differences = ciede2000(to_lab(palette(NUM_COLORS))[:, None], to_lab(greys)[None])
    assert differences.min() > 12
    assert {BLACK, GREY, WHITE} == {0, 128, 255}


def test_every_further_colour_is_the_most_different_one() -> None:
    levels = np.arange(0, 256, 17, dtype=np.uint8)
    grid = np.stack(np.meshgrid(levels, levels, levels, indexing='ij'), -1).reshape(-1, 3)
    lab = to_lab(grid)
    # Neither too dark, nor too light, nor too grey.
    fits = (lab[:, 0] > 22) & (lab[:, 0] < 94) & (np.hypot(lab[:, 1], lab[:, 2]) > 25)
    grid = grid[fits]
    colors = palette(20)
    least = np.full(len(grid), np.inf)
    for i, color in enumerate(colors):
        if i >= len(OKABE_ITO):
            assert (grid[least.argmax()] == color).all()
        for vision in VISIONS:
            difference = ciede2000(to_lab(color[None], vision), to_lab(grid, vision))
            least = np.minimum(least, difference)
