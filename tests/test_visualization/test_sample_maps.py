import numpy as np
import torch
from mmengine.structures import InstanceData, PixelData

from mmocl.structures import SlotDataSample
from mmocl.visualization import overview_tiles
from mmocl.visualization.palette import GREY, palette
from mmocl.visualization.sample_maps import true_ids


def rows(*chosen: int) -> torch.Tensor:
    mask = torch.zeros(6, 6, dtype=torch.bool)
    mask[list(chosen)] = True
    return mask


def test_stuff_is_background_and_crowds_and_void_are_ignored() -> None:
    sample = SlotDataSample()
    sample.gt_objects = InstanceData(
        masks=torch.stack([rows(0, 1), rows(1, 2), rows(2, 3), rows(3, 4)]),
        stuff=torch.tensor([True, False, False, False]),
        crowd=torch.tensor([False, False, True, False]),
    )
    sample.gt_void = PixelData(data=rows(4, 5)[None])
    found = true_ids(sample, (6, 6))
    assert found is not None
    # Objects lie over crowds, and void over all.
    assert found[:, 0].tolist() == [0, 1, 1, 2, -1, -1]
    assert (found == found[:, :1]).all()
    sample.gt_objects.masks[3] = False
    found = true_ids(sample, (6, 6))
    assert found is not None
    assert found[:, 0].tolist() == [0, 1, 1, -1, -1, -1]
    drawn = overview_tiles(np.zeros((6, 6, 3), np.uint8), sample)['true objects']
    assert (drawn[0] == 0).all()
    assert (drawn[1:3] == palette(1)[0]).all()
    assert (drawn[3:] == GREY).all()
