import numpy as np
import pytest

from mmocl.visualization.layout import headed, stacked, titled_grid
from mmocl.visualization.lettering import lettered, text_size
from mmocl.visualization.palette import palette

BLACK = np.zeros((20, 40, 3), np.uint8)
MARGIN = 8


def test_a_grid_has_its_pictures_at_their_places() -> None:
    red, blue = BLACK.copy(), BLACK.copy()
    red[..., 0], blue[..., 2] = 255, 255
    sheet = titled_grid([[red, None], [blue, red]], tile=(20, 40), gap=4)
    assert sheet.shape == (8 + 20 + 4 + 20 + 8, 8 + 40 + 4 + 40 + 8, 3)
    assert (sheet[8:28, 8:48] == (255, 0, 0)).all()
    assert (sheet[32:52, 8:48] == (0, 0, 255)).all()
    assert (sheet[32:52, 52:92] == (255, 0, 0)).all()
    others = np.ones(sheet.shape[:2], bool)
    others[8:28, 8:48] = others[32:52, 8:48] = others[32:52, 52:92] = False
    assert (sheet[others] == 255).all()


def test_rows_have_the_colours_of_their_slots() -> None:
    colors = palette(2)
    sheet = titled_grid([[BLACK], [BLACK]], colors=colors, tile=(20, 40), gap=6)
    for i, top in enumerate((8, 34)):
        assert (sheet[top : top + 20, 8:18] == colors[i]).all()  # swatch
        assert (sheet[top : top + 20, 18:22] == 255).all()
        frame = sheet[top - 2 : top + 22, 22:66].copy()
        assert (frame[2:-2, 2:-2] == 0).all()
        frame[2:-2, 2:-2] = colors[i]
        assert (frame == colors[i]).all()


def test_titles_and_labels_stand_beside_their_pictures() -> None:
    sheet = titled_grid([[BLACK, BLACK]], ['one', 'two'], ['row'], tile=(20, 40), gap=4)
    top, left = sheet.shape[0] - MARGIN - 20, sheet.shape[1] - MARGIN - 84
    ink = (sheet < 128).all(axis=2)
    for start in (left, left + 44):
        assert ink[:top, start : start + 40].any()
        assert ink[top : top + 20, start : start + 40].all()
    assert ink[top : top + 20, :left].any()
    assert not ink[:, -MARGIN:].any()
    assert not ink[:MARGIN].any()
    # A title that is too long gets smaller letters.
    long = titled_grid([[BLACK, BLACK]], ['reconstruction', 'b'], tile=(20, 40), gap=4)
    dark = (long[: long.shape[0] - MARGIN - 20] < 128).all(axis=2).any(axis=0)
    assert dark[MARGIN : MARGIN + 40].any()
    assert not dark[MARGIN + 44 : MARGIN + 55].any()


def test_groups_stand_apart() -> None:
    sheet = titled_grid([[BLACK] * 4], tile=(20, 40), gap=4, group=2)
    dark = (sheet[10] == 0).all(axis=1)
    assert [i for i in range(1, len(dark)) if dark[i] and not dark[i - 1]] == [8, 52, 104, 148]


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match='at least one picture, got none'):
        titled_grid([[]])
    for name, changes in (
        ('2 titles', {'titles': ['a']}),
        ('1 labels', {'labels': ['a', 'b']}),
        ('1 colors', {'colors': palette(3)}),
    ):
        with pytest.raises(ValueError, match=f'1 rows and 2 columns needs {name} or none, got'):
            titled_grid([[BLACK, BLACK]], **changes)


def test_pictures_are_stacked_and_get_headers() -> None:
    wide = np.full((5, 60, 3), 7, np.uint8)
    page = stacked([BLACK, wide])
    assert page.shape == (25, 60, 3)
    assert (page[:20, :40] == 0).all()
    assert (page[:20, 40:] == 255).all()
    assert (page[20:] == 7).all()
    page = headed(BLACK, 'a header that is wider than the picture')
    assert page.shape[1] > 200
    assert (page[-20:, :40] == 0).all()
    assert (page[-20:, 40:] == 255).all()
    assert (page[:-20, 100:200] == 0).any()


def test_text_has_its_size_and_changes_no_picture() -> None:
    height, width = text_size('slot 3\nweight 0.25', 13)
    page = np.full((60, 200, 3), 255, np.uint8)
    written = lettered(page, 'slot 3\nweight 0.25', (20, 10), 13)
    assert (page == 255).all()
    rows, columns = np.nonzero((written < 255).any(axis=2))
    assert rows.min() >= 10
    assert rows.max() <= 10 + height
    assert columns.min() >= 20
    assert columns.max() <= 20 + width
    # White letters have a dark rim on any ground.
    for ground in (0, 255):
        around = lettered(np.full((40, 40, 3), ground, np.uint8), '8', (20, 20), 14, outline=True)
        assert (around > 200).all(axis=2).any()
        assert (around < 60).all(axis=2).any()
