import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData, PixelData

from mmocl.structures import SlotDataSample
from mmocl.visualization import SlotVisualizer
from mmocl.visualization.drawing import colorize, contact_sheet, overlay, palette
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
    red, blue = np.zeros((5, 5, 3), np.uint8), np.zeros((9, 7, 3), np.uint8)
    red[..., 0], blue[..., 2] = 255, 255
    sheet = contact_sheet([[red, blue], [blue]], tile=10, gap=2)
    assert sheet.shape == (22, 22, 3)
    assert (sheet[:10, :10] == (255, 0, 0)).all()
    assert (sheet[:10, 12:] == (0, 0, 255)).all()
    assert (sheet[12:, 12:] == 255).all()


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
    assert truth.shape == (8, 8, 3)
    assert (truth[0, :2] != 0).any(axis=1).all()
    assert (truth[0, 2:] == 0).all()
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
