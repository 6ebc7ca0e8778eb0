from itertools import permutations

import pytest
import torch

from mmocl.models.losses import SetPredictionLoss
from mmocl.models.losses.set_prediction import assign, pairwise_smooth_l1
from mmocl.structures import Decoded, Features, ModelOutput, SlotOutput, SlotState, Target


def output_of(predictions: torch.Tensor, targets: torch.Tensor) -> ModelOutput:
    """An output of which the loss can look at the sets only."""
    tokens = torch.zeros(len(predictions), 1, 1)
    state = SlotState(tokens)
    slots = SlotOutput(tokens, tokens, state, state)
    return ModelOutput(Features(tokens, (1, 1)), slots, Target(targets), Decoded(predictions))


def sets(num_images: int = 3, size: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(num_images, size, 5), 2 * torch.randn(num_images, size, 5)


def test_brute_force_over_permutations() -> None:
    predictions, targets = sets()
    best = []
    for predicted, true in zip(predictions, targets, strict=True):
        costs = []
        for order in permutations(range(4)):
            difference = (predicted[list(order)] - true).abs()
            huber = torch.where(difference < 1, difference.square() / 2, difference - 0.5)
            costs.append(huber.mean(dim=1).sum())
        best.append(min(costs))
    loss = SetPredictionLoss(weight=2.0)(output_of(predictions, targets))
    torch.testing.assert_close(loss, 2 * torch.stack(best).mean())


def test_order_of_either_set_does_not_matter() -> None:
    predictions, targets = sets()
    loss = SetPredictionLoss()
    want = loss(output_of(predictions, targets))
    torch.testing.assert_close(loss(output_of(predictions[:, [2, 0, 3, 1]], targets)), want)
    torch.testing.assert_close(loss(output_of(predictions, targets[:, [3, 0, 1, 2]])), want)


def test_gradient_is_that_of_the_assigned_pairs() -> None:
    predictions, targets = sets()
    predictions.requires_grad_()
    index = assign(pairwise_smooth_l1(predictions, targets))
    chosen = predictions.gather(1, index[..., None].expand(-1, -1, 5))
    pairs = torch.nn.functional.smooth_l1_loss(chosen, targets, reduction='sum') / 5 / 3
    want = torch.autograd.grad(pairs, predictions)[0]
    loss = SetPredictionLoss()(output_of(predictions, targets))
    torch.testing.assert_close(torch.autograd.grad(loss, predictions)[0], want)


def test_perfect_sets_cost_nothing_in_any_order_and_half_precision_is_promoted() -> None:
    predictions, _ = sets()
    loss = SetPredictionLoss()
    assert loss(output_of(predictions, predictions.flip(1))) == 0
    assert loss(output_of(predictions.bfloat16(), predictions)).dtype == torch.float32


def test_predictions_that_are_not_finite_are_refused() -> None:
    predictions, targets = sets()
    predictions[1, 2, 3] = float('nan')
    with pytest.raises(ValueError, match='NaN or infinite; expected finite predictions'):
        SetPredictionLoss()(output_of(predictions, targets))
