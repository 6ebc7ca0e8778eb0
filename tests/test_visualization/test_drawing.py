import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData, PixelData

from mmocl.apis import UNSEEN as UNSEEN_IN_MAPS
from mmocl.structures import SlotDataSample
from mmocl.visualization import SlotVisualizer
from mmocl.visualization.drawing import (
    UNSEEN,
    annotated,
    colorize,
    contact_sheet,
    most_interior,
    overlay,
    palette,
    resized,
)
from mmocl.visualization.slot_visualizer import tiles


def test_colours_differ() -> None:
    assert len(np.unique(palette(11), axis=0)) == 11


def test_every_segment_has_one_colour_and_ignored_pixels_are_grey() -> None:
    ids = np.array([[0, 1, 1], [-1, 2, 0]])
    picture = colorize(ids, background=True)
    assert (picture[0, 0] == 0).all()
    assert (picture[1, 0] == 128).all()
    assert (picture[0, 1] == picture[0, 2]).all()
    assert (picture[0, 1] != picture[1, 1]).any()


def test_overlay_keeps_the_image_where_it_is_transparent() -> None:
    image = np.full((4, 4, 3), 200, np.uint8)
    same = np.zeros((4, 4), np.int64)
    assert (overlay(image, same, opacity=0.0) == image).all()
    halves = same.copy()
    halves[:, 2:] = 1
    assert (overlay(image, halves, opacity=0.0)[:, 2] < 100).all()  # the border is dark


def test_contact_sheet_places_tiles() -> None:
    red, blue = np.zeros((5, 5, 3), np.uint8), np.zeros((9, 9, 3), np.uint8)
    red[..., 0], blue[..., 2] = 255, 255
    sheet = contact_sheet([[red, blue], [blue]], tile=10, gap=2)
    assert sheet.shape == (22, 22, 3)
    assert (sheet[:10, :10] == (255, 0, 0)).all()
    assert (sheet[:10, 12:] == (0, 0, 255)).all()
    assert (sheet[12:, 12:] == 255).all()


def test_pictures_that_are_not_square_keep_their_aspect() -> None:
    wide = np.zeros((2, 5, 3), np.uint8)
    sheet = contact_sheet([[wide]], tile=10)
    assert (sheet[3:7] == 0).all()
    assert (sheet[:3] == 255).all()
    assert (sheet[7:] == 255).all()
    # Pixels of a picture that is at least doubled are seen.
    two = np.array([[[0, 0, 0], [90, 90, 90]]], np.uint8)
    assert (resized(two, 2, 6) == two.repeat(2, 0).repeat(3, 1)).all()


def test_what_is_unseen_is_no_slot() -> None:
    assert UNSEEN == UNSEEN_IN_MAPS
    ids = np.full((3, 4), UNSEEN, np.uint8)
    ids[:, 2:] = 254
    assert (colorize(ids)[:, :2] == 128).all()
    assert (colorize(ids)[:, 2:] == palette(255)[254]).all()
    image = np.full((3, 4, 3), (30, 60, 90), np.uint8)
    drawn = overlay(image, ids)
    assert (drawn[:, :2] == 60).all()  # the image without its colours
    assert (drawn[:, 3] == (0.4 * image[0, 0] + 0.6 * palette(255)[254]).astype(np.uint8)).all()
    # As true objects there may be more than slots.
    assert (colorize(ids.astype(np.int64), background=True)[:, :2] == palette(255)[254]).all()


def test_a_slot_has_one_colour_whatever_the_others_are() -> None:
    image = np.zeros((2, 3, 3), np.uint8)
    few = np.array([[3, 3, 0]] * 2)
    many = np.array([[3, 3, 254]] * 2)
    assert (overlay(image, few)[:, :2] == overlay(image, many)[:, :2]).all()
    assert (colorize(few)[:, :2] == palette(4)[3]).all()


def test_numbers_stand_inside_segments_with_room() -> None:
    ids = np.zeros((60, 100), np.int64)
    ids[:, 40:] = 1
    ids[:3, :3] = 2  # no room
    image = np.zeros((60, 100, 3), np.uint8)
    plain, drawn = overlay(image, ids), overlay(image, ids, numbers=True)
    changed = (plain != drawn).any(axis=2)
    assert changed[20:40, 10:30].any()
    assert changed[20:40, 60:80].any()
    changed[20:40, 10:30] = changed[15:45, 55:90] = False
    assert not changed.any()
    # A text that is larger than its segment stays in the picture.
    ids[:7, :7] = 2
    spilled = annotated(plain, ids, {2: '0.50'}, spill=True)
    rows, columns = np.nonzero((spilled != plain).any(axis=2))
    assert rows.min() < 8
    assert columns.max() < 35
    assert (annotated(plain, ids, {2: '0.50'}) == plain).all()
    # Over each other nothing could be read: the text of the wider segment stays.
    ids[7:13, :10] = 3
    both = annotated(plain, ids, {3: '0.25', 2: '0.50'}, spill=True)
    assert (both == spilled).all()
    with pytest.raises(ValueError, match=r'image is \(60, 100\), but its ids are \(60, 99\)'):
        overlay(image, ids[:, 1:])


def test_the_middle_of_a_mask_is_where_it_is_widest() -> None:
    mask = np.zeros((20, 30), bool)
    mask[8:10] = True
    mask[4:13, 20:29] = True
    x, y, radius = most_interior(mask)
    assert (x, y, radius) == (24, 8, 5.0)
    assert most_interior(np.ones((30, 8), bool))[1] in (14, 15)  # of a column the middle
    assert most_interior(np.zeros((3, 3), bool))[2] == 0
    assert most_interior(np.ones((5, 9), bool))[2] == 3  # the picture ends


@pytest.fixture
def sample() -> SlotDataSample:
    sample = SlotDataSample(metainfo={'img_id': 1, 'crop': 'center'})
    masks = torch.zeros(2, 8, 12, dtype=torch.bool)
    masks[0, :, :4] = True
    masks[1, 2:5, 5:8] = True
    sample.gt_objects = InstanceData(masks=masks)
    sample.pred_masks = PixelData(data=torch.rand(3, 4, 4))
    sample.pred_attn = PixelData(data=torch.rand(3, 2, 2))
    sample.pred_image = PixelData(data=torch.full((3, 16, 16), 300.0).clamp(0, 255))
    return sample


def test_tiles_show_what_there_is(sample) -> None:
    image = np.zeros((16, 16, 3), np.uint8)
    image_, recon, masks, attn, truth = tiles(image, sample)
    assert image_ is image
    assert (recon == 255).all()
    assert masks.shape == attn.shape == image.shape
    # The centre square: columns 2 to 10 of 12.
    assert truth.shape == (16, 16, 3)
    assert (truth[0, :4] != 0).any(axis=1).all()
    assert (truth[0, 4:] == 0).all()
    del sample.pred_masks, sample.gt_objects
    assert len(tiles(image, sample)) == 3
    # Objects without masks cannot be drawn.
    sample.gt_objects = InstanceData(position=torch.zeros(2, 3))
    assert len(tiles(image, sample)) == 3


def test_visualizer_writes_files_and_backends(sample, tmp_path) -> None:
    visualizer = SlotVisualizer(
        'test', vis_backends=[{'type': 'LocalVisBackend'}], save_dir=str(tmp_path)
    )
    image = np.zeros((16, 16, 3), np.uint8)
    visualizer.add_datasample('a', image, sample, out_file=str(tmp_path / 'out' / 'a.png'))
    visualizer.add_datasample('b', image, sample, step=3)
    assert (tmp_path / 'out' / 'a.png').is_file()
    assert list(tmp_path.rglob('b_3.png'))
