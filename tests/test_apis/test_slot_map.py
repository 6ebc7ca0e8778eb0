from importlib import import_module

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData, PixelData
from PIL import Image

from mmocl.apis import UNSEEN, slot_map, slot_overlay
from mmocl.apis.slot_map import shown_part
from mmocl.datasets.transforms import LoadImage, PackSlotInputs, ResizeCrop
from mmocl.registry import TRANSFORMS
from mmocl.structures import SlotDataSample


def sample_of(masks: torch.Tensor, **metainfo: object) -> SlotDataSample:
    """Predictions of an image of 6x6 pixels, unless its metainfo says something else."""
    sample = SlotDataSample(metainfo={'img_path': 'a.jpg', 'ori_shape': (6, 6), **metainfo})
    sample.pred_masks = PixelData(data=masks)
    return sample


def halves(size: int) -> torch.Tensor:
    """Two slots: the left and the right half."""
    left = (torch.arange(size) < size // 2).float().expand(size, size)
    return torch.stack([left, 1 - left])


def ramp_sample(path, level: float, *steps) -> SlotDataSample:
    """Sample of a picture by a perfect model of two slots: red below ``level``, and above."""
    results = {'img_path': str(path), 'img_id': 'a'}
    for step in (*steps, PackSlotInputs()):
        results = step(results)
    red = results['inputs'][0].float()
    sample = results['data_samples']
    sample.pred_masks = PixelData(data=torch.stack([level - red, red - level]))
    return sample


def write_ramp(path, height: int, width: int, transposed: bool = False) -> None:
    """Red grows by 2 a column, or by 2 a row of the transposed picture."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 0] = 2 * np.arange(width)
    Image.fromarray(pixels.transpose(1, 0, 2) if transposed else pixels).save(path)


@pytest.mark.parametrize(
    ('shape', 'size', 'part'),
    [
        ((60, 80), 30, (0, 10, 60, 70)),
        ((80, 60), 30, (10, 0, 70, 60)),
        # 85 columns of which 10 to 74 are shown: 470.6 to 3482.4 of the file, more than its height.
        ((3000, 4000), 64, (0, 471, 3000, 3482)),
        ((7, 7), 30, (0, 0, 7, 7)),
        ((1, 9), 4, (0, 4, 1, 5)),
    ],
)
def test_a_centre_crop_shows_the_square_of_resize_crop(shape, size, part) -> None:
    meta = {'ori_shape': shape, 'img_shape': (size, size), 'crop': 'center'}
    sample = sample_of(halves(4), **meta)
    assert shown_part(sample) == part
    if shape[0] > 1000:
        return
    ids = slot_map(sample)
    top, left, bottom, right = part
    assert ids.shape == shape
    seen = np.zeros(shape, bool)
    seen[top:bottom, left:right] = True
    np.testing.assert_array_equal(ids != UNSEEN, seen)


@pytest.mark.parametrize('crop', ['center', 'squash'])
@pytest.mark.parametrize(('height', 'width'), [(50, 83), (97, 41), (64, 64)])
@pytest.mark.parametrize('frame', [None, (3, 5, 45, 40)])
@pytest.mark.parametrize('transposed', [False, True])
def test_edges_fall_where_they_are_in_the_file(
    crop, height, width, frame, transposed, tmp_path
) -> None:
    write_ramp(tmp_path / 'a.png', height, width, transposed)
    top, left, bottom, right = frame or (0, 0, height, width)
    if transposed and frame:
        frame = (left, top, right, bottom)
    steps = LoadImage(frame=frame), ResizeCrop(32, crop)
    ids = slot_map(ramp_sample(tmp_path / 'a.png', 2 * 26 - 1, *steps))
    ids = ids.T if transposed else ids
    assert ids.shape == (height, width)
    seen = ids != UNSEEN
    rows, columns = (np.flatnonzero(seen.any(axis)) for axis in (1, 0))
    assert seen.sum() == len(rows) * len(columns)  # a rectangle
    # Red passes the level at column 26; a pixel for the rounding of part and picture.
    edge = np.flatnonzero(ids[rows[len(rows) // 2]] == 0)[-1] + 1
    assert abs(edge - 26) <= 1
    if crop == 'squash':
        assert (rows[0], rows[-1] + 1) == (top, bottom)
        assert (columns[0], columns[-1] + 1) == (left, right)
    else:
        short = min(bottom - top, right - left)
        assert abs(rows.mean() - (top + bottom - 1) / 2) <= 1
        assert abs(columns.mean() - (left + right - 1) / 2) <= 1
        assert max(abs(len(rows) - short), abs(len(columns) - short)) <= 2


def test_a_model_without_resize_crop_sees_the_whole_file(tmp_path) -> None:
    write_ramp(tmp_path / 'a.png', 20, 40)
    ids = slot_map(ramp_sample(tmp_path / 'a.png', 39, LoadImage()))
    np.testing.assert_array_equal(ids, np.arange(40)[None].repeat(20, 0) >= 20)


def test_soft_masks_are_resized_before_the_argmax() -> None:
    masks = torch.tensor([[[0.9, 0.4]], [[0.1, 0.6]]])
    ids = slot_map(sample_of(masks, ori_shape=(1, 8)))
    # Between the centres, at pixels 2 and 6, the first mask falls below a half after 80 %.
    assert ids.tolist() == [[0, 0, 0, 0, 0, 1, 1, 1]]


def test_inactive_slots_never_appear_and_the_others_keep_their_index() -> None:
    masks = torch.stack([torch.ones(6, 6), *halves(6) * 0.5])
    sample = sample_of(masks)
    assert np.unique(slot_map(sample)).tolist() == [0]
    sample.pred_slots = InstanceData(active=torch.tensor([False, True, True]))
    assert slot_map(sample)[0].tolist() == [1, 1, 1, 2, 2, 2]
    sample.pred_slots = InstanceData(active=torch.zeros(3, dtype=torch.bool))
    assert (slot_map(sample) == UNSEEN).all()


def test_attention_is_taken_if_asked_for() -> None:
    sample = sample_of(halves(6))
    sample.pred_attn = PixelData(data=halves(6).flip(0))
    np.testing.assert_array_equal(slot_map(sample, 'attention'), 1 - slot_map(sample))


def test_255_slots_are_the_most() -> None:
    masks = torch.arange(255.0)[:, None, None].expand(255, 6, 6)
    assert (slot_map(sample_of(masks)) == 254).all()
    with pytest.raises(ValueError, match=r'a\.jpg has 256 slots; expected at most 255'):
        slot_map(sample_of(torch.zeros(256, 6, 6)))


@pytest.mark.parametrize(
    ('meta', 'message'),
    [
        ({'crop': 'random', 'img_shape': (6, 6)}, r"a\.jpg has crop 'random'.*crop='center'"),
        ({'flip': True}, r'a\.jpg was flipped.*no RandomFlip'),
    ],
)
def test_moved_images_are_refused(meta, message) -> None:
    with pytest.raises(ValueError, match=message):
        slot_map(sample_of(halves(6), **meta))


def test_a_flip_in_the_pipeline_is_seen(tmp_path) -> None:
    write_ramp(tmp_path / 'a.png', 8, 8)
    flip = TRANSFORMS.build({'type': 'RandomFlip', 'prob': 1.0})
    with pytest.raises(ValueError, match='was flipped'):
        slot_map(ramp_sample(tmp_path / 'a.png', 7, LoadImage(), flip))


def test_bad_masks_are_refused() -> None:
    sample = sample_of(halves(6))
    with pytest.raises(ValueError, match=r"'attention' needs 'pred_attn'.*\['decoder'\]"):
        slot_map(sample, 'attention')
    with pytest.raises(ValueError, match=r"mask source must be among .* got 'slots'"):
        slot_map(sample, 'slots')
    with pytest.raises(ValueError, match=r'soft masks of image a\.jpg hold NaN'):
        slot_map(sample_of(halves(6) * float('nan')))
    bare = SlotDataSample()
    bare.pred_masks = PixelData(data=halves(6))
    with pytest.raises(ValueError, match='no ori_shape; expected a pipeline with LoadImage'):
        slot_map(bare)


def test_maps_of_enormous_pictures_are_made_slot_by_slot(monkeypatch) -> None:
    """The same map, ties included, without holding the resized masks of all slots."""
    masks = torch.rand(5, 7, 9)
    masks[3] = masks[1]
    sample = sample_of(masks, ori_shape=(70, 61), img_shape=(7, 9), crop='squash')
    usual = slot_map(sample)
    assert set(np.unique(usual)) <= {0, 1, 2, 4}
    module = import_module('mmocl.evaluation.functional.label_map')  # a function shares its name
    monkeypatch.setattr(module, '_AT_ONCE', 1)
    np.testing.assert_array_equal(slot_map(sample), usual)


def test_overlays_have_the_size_of_the_picture_up_to_a_limit(monkeypatch) -> None:
    image = np.full((6, 8, 3), 200, np.uint8)
    ids = np.zeros((6, 8), np.uint8)
    ids[:, 4:] = UNSEEN
    drawn = slot_overlay(image, ids)
    assert drawn.shape == (6, 8, 3)
    grey = drawn[0, 6]
    assert grey[0] == grey[1] == grey[2]
    assert len(set(drawn[0, 1].tolist())) > 1
    monkeypatch.setattr(import_module('mmocl.apis.slot_map'), '_DRAWN_PIXELS', 47)
    assert slot_overlay(image, ids).shape == (3, 4, 3)
