from collections.abc import Callable
from importlib import import_module

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData, PixelData
from torch import Tensor

from mmocl.structures import SlotDataSample
from mmocl.visualization import (
    draw_panels,
    image_scores,
    overlay,
    overview_tiles,
    palette,
    score_panel,
    slot_crops,
    slot_grid,
    step_strip,
)
from mmocl.visualization.layout import titled_grid
from mmocl.visualization.overview import LEFT_OVER

IMAGE = np.full((16, 16, 3), 100, np.uint8)
# Where the tiles of a grid without labels begin, see test_layout.py.
LEFT, TOP = 8, 29


def halves(first: int, second: int, num_slots: int = 4, size: int = 4) -> Tensor:
    """Masks with the left half of one slot and the right half of another."""
    masks = torch.zeros(num_slots, size, size)
    masks[first, :, : size // 2] = 1
    masks[second, :, size // 2 :] = 1
    return masks


@pytest.fixture
def sample() -> SlotDataSample:
    """Slots 2 and 1 have a half each in the masks; in the attention it is 3 and 1 at first."""
    sample = SlotDataSample(metainfo={'img_id': 1})
    sample.pred_masks = PixelData(data=halves(2, 1))
    sample.pred_attn = PixelData(data=halves(2, 1, size=2))
    sample.pred_steps = torch.stack([halves(3, 1, size=2), halves(2, 1, size=2)])
    active = torch.tensor([False, True, True, True])
    sample.pred_slots = InstanceData(
        slots=torch.zeros(4, 3), active=active, weight=torch.tensor([0.0, 0.5, 0.25, 0.25])
    )
    objects = torch.zeros(2, 16, 16, dtype=torch.bool)
    objects[0, 4:12, :8] = True
    objects[1, :, 8:] = True
    sample.gt_objects = InstanceData(masks=objects)
    return sample


def tile(picture: np.ndarray, column: int, size: int, top: int = TOP) -> np.ndarray:
    left = LEFT + column * (size + 6)
    return picture[top : top + size, left : left + size]


def test_a_true_object_has_the_colour_of_its_slot(sample) -> None:
    tiles = overview_tiles(IMAGE, sample)
    assert list(tiles) == ['image', 'masks', 'attention', 'true objects']
    truth, colors = tiles['true objects'], palette(4)
    assert (truth[4:12, :8] == colors[2]).all()
    assert (truth[:, 8:] == colors[1]).all()
    assert (truth[:4, :8] == 0).all()
    mixed = (0.4 * IMAGE[0, 0] + 0.6 * colors[2]).astype(np.uint8)
    assert (tiles['masks'][:, :8] == mixed).all()
    larger = overview_tiles(IMAGE, sample, (32, 48))
    assert {picture.shape for picture in larger.values()} == {(32, 48, 3)}
    # A third object has no slot left; without predictions objects have colours of their own.
    masks = torch.cat([sample.gt_objects.masks, torch.zeros(1, 16, 16, dtype=torch.bool)])
    masks[2, :2, :2] = True
    sample.gt_objects = InstanceData(masks=masks)
    assert (overview_tiles(IMAGE, sample)['true objects'][:2, :2] == LEFT_OVER).all()
    bare = SlotDataSample()
    bare.gt_objects = sample.gt_objects
    assert (overview_tiles(IMAGE, bare)['true objects'][8, 0] == colors[0]).all()


def test_the_grid_has_a_row_a_slot_and_a_column_a_step(sample) -> None:
    sample.pred_slot_images = torch.arange(4.0)[:, None, None, None].expand(4, 3, 16, 16) * 50
    picture = slot_grid(IMAGE, sample, side=32)
    # mask, image part, slot alone, two steps; labels on the left
    left = picture.shape[1] - 8 - (5 * 38 - 6)
    assert picture.shape[0] == TOP + 4 * 38 - 6 + 8
    at = [left + j * 38 for j in range(5)]
    for k, color in enumerate(palette(4)):
        row = picture[TOP + k * 38 : TOP + k * 38 + 32]
        assert (row[:, 8:18] == color).all()
        assert all((row[:, x - 2 : x] == color).all() for x in at)
    row = picture[TOP + 2 * 38 : TOP + 2 * 38 + 32]
    assert (row[:, at[0] : at[0] + 10] == 255).all()  # left half of the mask
    assert (row[:, at[0] + 22 : at[0] + 32] == 0).all()
    assert (row[:, at[1] : at[1] + 10] == 100).all()  # of the image, then paper
    assert (row[:, at[1] + 22 : at[1] + 32] == 255).all()
    assert (row[:, at[2] : at[2] + 32] == 100).all()  # slot 2 alone
    assert (row[:, at[3] : at[3] + 32] == 0).all()  # slot 3 had this half then
    assert (row[:, at[4] : at[4] + 8] == 255).all()
    inactive = picture[TOP : TOP + 32]
    assert (inactive[:, at[0] : at[0] + 32] == 204).all()  # pale black


def test_the_grid_draws_what_there_is(sample) -> None:
    widths = [slot_grid(IMAGE, sample, side=32).shape[1]]
    del sample.pred_steps
    widths.append(slot_grid(IMAGE, sample, side=32).shape[1])
    del sample.pred_masks
    widths.append(slot_grid(IMAGE, sample, side=32).shape[1])
    assert np.diff(widths).tolist() == [-38, -38]  # a step, the mask
    with pytest.raises(ValueError, match='image 7 has neither pred_masks nor pred_attn'):
        slot_grid(IMAGE, SlotDataSample(metainfo={'img_id': 7}))


@pytest.mark.parametrize('num_slots', [1, 255])
def test_one_slot_and_as_many_as_there_can_be(num_slots) -> None:
    sample = SlotDataSample()
    masks = torch.zeros(num_slots, 2, 3)
    masks[-1] = 1
    sample.pred_attn = PixelData(data=masks)
    image = np.zeros((10, 20, 3), np.uint8)  # not square, and larger than the masks
    picture = slot_grid(image, sample, side=20)
    assert picture.shape[0] == TOP + num_slots * 16 - 6 + 8
    last = picture[-18:-8]
    assert (last[:, 8:18] == palette(num_slots)[-1]).all()
    assert (last[:, -28:-8] == 255).all()
    drawn = overview_tiles(image, sample)['attention']
    assert (drawn == (0.6 * palette(num_slots)[-1]).astype(np.uint8)).all()


def test_steps_are_drawn_in_the_colours_of_the_slots(sample) -> None:
    sample.pred_masks = PixelData(data=halves(1, 3))  # other halves than in the attention
    picture = step_strip(IMAGE, sample, side=64)
    assert picture.shape == (TOP + 64 + 8, 8 + 4 * 70 - 6 + 8, 3)
    colors = palette(4)
    mixed = [(40 + 0.6 * color).astype(np.uint8) for color in colors]
    assert (tile(picture, 0, 64) == 100).all()
    for column, (first, second) in enumerate([(3, 1), (2, 1), (1, 3)], start=1):
        drawn = tile(picture, column, 64)
        assert (drawn[:10, :31] == mixed[first]).all()
        assert (drawn[:10, 33:] == mixed[second]).all()
        assert (drawn[20:44, 8:24] > 200).all(axis=2).any()  # its number
    del sample.pred_steps
    assert step_strip(IMAGE, sample, side=64).shape[1] == 8 + 3 * 70 - 6 + 8
    with pytest.raises(ValueError, match='no pred_attn'):
        step_strip(IMAGE, SlotDataSample())


def test_scores_stand_over_true_and_predicted(sample) -> None:
    picture = score_panel(IMAGE, sample, side=64)
    top = picture.shape[0] - 8 - 64
    truth = tile(picture, 1, 64, top)
    assert (truth[:14, :31] == 0).all()
    assert (truth[18:24, :8] == palette(3)[2]).all()
    assert (truth[:10, 33:] == palette(2)[1]).all()
    assert (truth[20:44, 4:28] > 200).all(axis=2).any()  # the IoU
    assert (picture[: top - 25, : 8 + 3 * 70] == 0).any()  # the line of scores
    # An object without a slot has no number.
    objects = sample.gt_objects.masks
    left_over = torch.zeros(1, 16, 16, dtype=torch.bool)
    left_over[:, 12:, :8] = True
    sample.gt_objects = InstanceData(masks=torch.cat([objects, left_over]))
    drawn = tile(score_panel(IMAGE, sample, side=64), 1, 64, top)
    assert (drawn[48:, :31] == LEFT_OVER).all()
    sample.gt_objects = InstanceData(masks=objects)
    # What is ignored is grey.
    void = torch.zeros(1, 16, 16, dtype=torch.bool)
    void[:, :4] = True
    sample.gt_void = PixelData(data=void)
    for protocol in ('spot320', {'name': 'square128', 'void': 'ignore'}):
        drawn = tile(score_panel(IMAGE, sample, protocol, side=64), 1, 64, top)
        assert ((drawn[:14, :31] == 128).all()) == (protocol != 'spot320')


def test_the_line_of_scores_names_each(sample, monkeypatch) -> None:
    lines = []
    module = import_module('mmocl.visualization.score_panel')
    monkeypatch.setattr(module, 'headed', lambda picture, text: lines.append(text) or picture)
    sample.pred_masks = PixelData(data=halves(2, 2))  # one slot for both objects
    score_panel(IMAGE, sample, 'square128')
    scores = image_scores(sample, 'decoder')
    assert scores.mbo > scores.miou + 0.1
    assert lines == [
        f'FG-ARI {scores.fg_ari:z.2f}   mBO {scores.mbo:.2f}   mIoU {scores.miou:.2f}   (square128)'
    ]


def test_images_without_objects_or_without_masks_are_drawn(sample) -> None:
    sample.gt_objects = InstanceData(masks=torch.zeros(0, 16, 16, dtype=torch.bool))
    with_truth = score_panel(IMAGE, sample, side=64)
    assert (tile(with_truth, 1, 64, with_truth.shape[0] - 72) == 0).all()
    del sample.gt_objects
    without = score_panel(IMAGE, sample, side=64)
    assert without.shape[0] == with_truth.shape[0]
    assert without.shape[1] < with_truth.shape[1]
    # Without an active slot nothing is anybody's.
    sample.pred_slots = InstanceData(slots=torch.zeros(4, 3), active=torch.zeros(4).bool())
    assert (overview_tiles(IMAGE, sample)['masks'] == overlay(IMAGE, np.full((16, 16), -1))).all()


def test_slots_are_cut_out(sample) -> None:
    image = IMAGE.copy()
    image[:, 8:] = 30
    crops = slot_crops(image, sample, side=8)
    assert crops[0] is None
    assert crops[3] is None
    assert (crops[2][:, 2:6] == 100).all()
    assert (crops[2][:, :2] == 255).all()  # the half is upright
    assert (crops[1][:, 2:6] == 30).all()


def test_panels_are_chosen_and_stacked(sample) -> None:
    def height(*panels: str) -> int:
        return draw_panels(IMAGE, sample, panels, side=96).shape[0]

    assert height('steps', 'grid', 'scores') == height('steps') + height('grid') + height('scores')
    assert height('overview') == TOP + 96 + 8
    assert (draw_panels(IMAGE, sample) == draw_panels(IMAGE, sample, 'overview')).all()
    with pytest.raises(ValueError, match=r"\['overview', 'scores', 'steps', 'grid'\], got \['x'\]"):
        draw_panels(IMAGE, sample, 'x')
    # Other predictions, such as mmsegmentation's, have an image to show.
    bare = draw_panels(IMAGE, SlotDataSample(), ['scores', 'grid'], side=96)
    assert (bare == titled_grid([[IMAGE]], ['image'], tile=(96, 96))).all()


@pytest.mark.parametrize('draw', [slot_grid, step_strip, score_panel, draw_panels])
def test_no_picture_changes_the_image(sample, draw: Callable) -> None:
    image = IMAGE.copy()
    draw(image, sample)
    assert (image == IMAGE).all()
