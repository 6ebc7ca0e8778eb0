import pytest
import torch

from mmocl.models.initializers import GaussianSlots, LearnedSlots
from mmocl.structures import Features

FEATURES = Features(torch.zeros(512, 9, 4), (3, 3))


def test_gaussian_slots_follow_their_mean_and_scale() -> None:
    init = GaussianSlots(num_slots=6, slot_dim=8)
    slots = init(FEATURES).mean
    torch.testing.assert_close(slots.mean((0, 1)), init.mean[0, 0], atol=0.1, rtol=0)
    torch.testing.assert_close(slots.std((0, 1)), init.log_scale.exp()[0, 0], atol=0.15, rtol=0)
    noise = torch.zeros(512, 6, 8)
    torch.testing.assert_close(init(FEATURES, noise=noise).mean, init.mean.expand(512, 6, -1))


def test_own_gaussians_fix_the_number_of_slots() -> None:
    init = GaussianSlots(num_slots=6, slot_dim=8, shared=False)
    assert init(FEATURES).mean.shape == (512, 6, 8)
    with pytest.raises(ValueError, match='has 6 slots of its own, so it cannot give 5'):
        init(FEATURES, num_slots=5)


def test_learned_slots_are_the_same_for_every_image() -> None:
    slots = LearnedSlots(num_slots=6, slot_dim=8)(FEATURES).mean
    assert slots.shape == (512, 6, 8)
    assert (slots == slots[:1]).all()
