from dataclasses import replace

import pytest
import torch

from mmocl.models.losses import ReconstructionLoss
from mmocl.models.targets import FeatureTarget, PixelTarget
from mmocl.structures import Decoded, Features, ModelOutput, SlotOutput, SlotState, Target

IMAGES = torch.randn(2, 3, 8, 12)
FEATURES = Features(torch.randn(2, 6, 5, requires_grad=True), (2, 3))


def test_pixel_patches_come_back_as_images() -> None:
    assert PixelTarget()(IMAGES, FEATURES).values is IMAGES
    target = PixelTarget(patch_size=4)
    values = target(IMAGES, FEATURES).values
    assert values.shape == (2, 6, target.out_channels(5))
    torch.testing.assert_close(values[0, 1], IMAGES[0, :, :4, 4:8].flatten())
    decoded = Decoded(values, torch.ones(2, 1, 2, 3))
    torch.testing.assert_close(target.to_images(decoded), IMAGES)
    with pytest.raises(ValueError, match='grid is not known'):
        target.to_images(Decoded(values))
    with pytest.raises(ValueError, match='cannot cut 8x12 images into patches of 5x5'):
        PixelTarget(patch_size=5)(IMAGES, FEATURES)
    with pytest.raises(ValueError, match='needs images'):
        PixelTarget()(None, FEATURES)


def test_feature_targets_are_detached_and_may_be_normalised() -> None:
    values = FeatureTarget()(None, FEATURES).values
    assert not values.requires_grad
    torch.testing.assert_close(values, FEATURES.tokens.detach())
    normal = FeatureTarget(normalize=True)(None, FEATURES).values
    torch.testing.assert_close(normal.mean(-1), torch.zeros(2, 6), atol=1e-6, rtol=0)
    torch.testing.assert_close(normal.var(-1, correction=0), torch.ones(2, 6), atol=1e-3, rtol=0)


def test_features_cannot_be_drawn() -> None:
    assert FeatureTarget().to_images(Decoded(FEATURES.tokens)) is None


def test_reconstruction_loss_is_a_weighted_mean_square() -> None:
    state = SlotState(torch.zeros(2, 3, 4))
    slots = SlotOutput(state.mean, torch.zeros(2, 3, 6), state, state)
    target, decoded = Target(torch.zeros(2, 4)), Decoded(torch.full((2, 4), 3.0))
    output = ModelOutput(FEATURES, slots, target, decoded)
    assert ReconstructionLoss(weight=0.5)(output) == 4.5


def test_reconstruction_loss_leaves_out_tokens_that_do_not_exist() -> None:
    state = SlotState(torch.zeros(2, 3, 4))
    slots = SlotOutput(state.mean, torch.zeros(2, 3, 6), state, state)
    mask = torch.ones(2, 6, dtype=torch.bool)
    mask[1, 4:] = False
    tokens = FEATURES.tokens.detach()
    recon = tokens + 3.0
    recon[1, 4:] = 100.0
    output = ModelOutput(replace(FEATURES, mask=mask), slots, Target(tokens), Decoded(recon))
    torch.testing.assert_close(ReconstructionLoss(weight=0.5)(output), torch.tensor(4.5))
