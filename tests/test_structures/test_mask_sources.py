import pytest
import torch
from mmengine.structures import PixelData

from mmocl.structures import MASK_SOURCES, SlotDataSample, soft_masks


def test_masks_are_read_from_samples_and_from_dicts() -> None:
    for source, (field, _) in MASK_SOURCES.items():
        masks = torch.rand(3, 4, 4)
        sample = SlotDataSample()
        setattr(sample, field, PixelData(data=masks))
        assert soft_masks(sample, source) is masks
        assert soft_masks(sample.to_dict(), source).equal(masks)


def test_what_is_there_is_named() -> None:
    sample = SlotDataSample(metainfo={'img_id': 'a'})
    sample.pred_attn = PixelData(data=torch.rand(3, 4, 4))
    message = (
        r"^mask source 'decoder' needs 'pred_masks', which the prediction of image 'a' lacks; as "
        r"masks there are those of \['attention'\]$"
    )
    for one in (sample, sample.to_dict() | {'img_id': 'a'}):
        with pytest.raises(ValueError, match=message):
            soft_masks(one, 'decoder')
    with pytest.raises(ValueError, match=r"source must be among .*'segmentor'.*, got 'slots'"):
        soft_masks(sample, 'slots')
