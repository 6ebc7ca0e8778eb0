import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData, PixelData

from mmocl.evaluation.metrics import ObjectDiscoveryMetric
from mmocl.structures import SlotDataSample
from mmocl.visualization import image_scores
from mmocl.visualization.image_scores import matches


@pytest.fixture
def sample() -> SlotDataSample:
    rng = torch.Generator().manual_seed(0)
    sample = SlotDataSample(metainfo={'img_id': 1, 'crop': 'center'})
    sample.pred_masks = PixelData(data=torch.rand(5, 6, 6, generator=rng))
    sample.pred_attn = PixelData(data=torch.rand(5, 3, 3, generator=rng))
    masks = torch.zeros(3, 40, 60, dtype=torch.bool)
    masks[0, 5:30, 12:30] = True
    masks[1, 20:38, 25:50] = True  # overlaps with the first
    masks[2, :5, :5] = True  # not in the centre
    sample.gt_objects = InstanceData(
        masks=masks, labels=torch.tensor([1, 2, 2]), crowd=torch.zeros(3, dtype=torch.bool)
    )
    return sample


@pytest.mark.parametrize('protocol', ['spot320', 'oclf320', 'square128(crop=center)'])
def test_scores_are_those_of_the_metric(sample, protocol) -> None:
    metric = ObjectDiscoveryMetric(
        protocol=protocol, mask_sources=['decoder', 'attention'], scores=['fg_ari', 'mbo_i', 'miou']
    )
    metric.process(None, [sample.to_dict()])
    for source, prefix in (('decoder', ''), ('attention', 'attn_')):
        scores = image_scores(sample, source, protocol)
        wanted = [metric.results[0][f'{prefix}{name}'] for name in ('fg_ari', 'mbo_i', 'miou')]
        assert [scores.fg_ari, scores.mbo, scores.miou] == wanted
        assert scores.miou == pytest.approx(np.mean([m.iou for m in scores.matches.values()]))
        assert list(scores.matches) == [1, 2]


def test_stuff_is_background_and_the_sample_says_its_crop(sample) -> None:
    sample.gt_objects.stuff = torch.tensor([False, True, False])
    assert list(image_scores(sample, 'decoder', 'square128').matches) == [1]
    sample.set_metainfo({'crop': 'squash'})
    assert list(image_scores(sample, 'decoder', 'spot320').matches) == [1, 2]


def test_objects_are_matched_one_to_one() -> None:
    truth = np.array([[1, 1, 1, 2, 2, 3, -1, -2]])
    pred = np.array([[7, 7, 0, 7, 7, 0, 5, 5]])
    found = matches(truth, pred)
    # Slot 7 overlaps both, and the sum is greatest if the second object has it.
    assert {i: match.slot for i, match in found.items()} == {1: None, 2: 7, 3: 0}
    assert [match.iou for match in found.values()] == [0, 0.5, 0.5]
    assert matches(np.zeros((2, 2), int), np.zeros((2, 2), int)) == {}
