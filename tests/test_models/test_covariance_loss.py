import pytest
import torch
from torch import nn

from mmocl.engine.hooks.attribute_annealing_hook import find_owner
from mmocl.models.losses import CovarianceLoss
from mmocl.registry import MODELS
from mmocl.structures import Decoded, Features, ModelOutput, SlotOutput, SlotState, Target

HEAD = {'head_channels': 6}


def _output(slots: torch.Tensor, active: torch.Tensor | None = None) -> ModelOutput:
    batch, num_slots, _ = slots.shape
    attn = torch.full((batch, num_slots, 4), 1 / num_slots)
    state = SlotState(slots)
    tokens = torch.zeros(batch, 4, 3)
    head = SlotOutput(slots, attn, state, state, active)
    return ModelOutput(Features(tokens, (2, 2)), head, Target(tokens), Decoded(tokens))


def _identity(**kwargs) -> CovarianceLoss:
    return CovarianceLoss(2, head_channels=None, **kwargs)


# Four slots of two images. Mean (2, 1); variances 8/3 and 4/3, covariance 4/3.
SLOTS = torch.tensor([[[0.0, 0.0], [2.0, 2.0]], [[2.0, 0.0], [4.0, 2.0]]])
OFF = 2 * (4 / 3) ** 2


@pytest.mark.parametrize(
    ('kwargs', 'want'),
    [
        ({}, OFF / 4),
        ({'divisor': 'linear'}, OFF / 2),
        ({'weight': 3.0, 'cov_weight': 0.5}, 1.5 * OFF / 4),
        # Only the second feature deviates less than 1.5.
        (
            {'cov_weight': 0.0, 'std_weight': 2.0, 'gamma': 1.5},
            2 * (1.5 - (4 / 3 + 1e-4) ** 0.5) / 2,
        ),
        (
            {'weight': 0.1, 'std_weight': 1.0, 'gamma': 1.5},
            0.1 * (OFF / 4 + (1.5 - (4 / 3 + 1e-4) ** 0.5) / 2),
        ),
        ({'std_weight': 1.0, 'gamma': 0.0}, OFF / 4),
    ],
)
def test_value(kwargs, want) -> None:
    torch.testing.assert_close(_identity(**kwargs)(_output(SLOTS)), torch.tensor(want))


def test_gradient() -> None:
    slots = SLOTS.clone().requires_grad_()
    _identity()(_output(slots)).backward()
    # d/d cov_01 of 2 cov_01^2 / 4 is cov_01, and d cov_01 / d x_n0 is (x_n1 - mean_1) / 3.
    want = 4 / 3 * (SLOTS - torch.tensor([2.0, 1.0])).flip(2) / 3
    torch.testing.assert_close(slots.grad, want)


@pytest.mark.parametrize('std_weight', [0.0, 1.0])
@pytest.mark.parametrize('head_channels', [None, 6])
def test_gradients_are_right(head_channels, std_weight) -> None:
    loss = CovarianceLoss(3, head_channels=head_channels, std_weight=std_weight).double()
    slots = torch.randn(2, 3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: loss(_output(x)), slots)


def test_equal_slots_have_finite_gradients() -> None:
    slots = torch.ones(2, 3, 2).requires_grad_()
    _identity(std_weight=1.0)(_output(slots)).backward()
    assert slots.grad.isfinite().all()


@pytest.mark.parametrize('head_channels', [None, 6])
def test_inactive_slots_are_left_out(head_channels) -> None:
    loss = CovarianceLoss(3, head_channels=head_channels, std_weight=1.0)
    active = torch.tensor([[True, False, True], [False, True, True]])
    slots = torch.randn(2, 3, 3)
    kept = loss(_output(slots[active].view(2, 2, 3)))
    assert (loss(_output(slots)) - kept).abs() > 1e-4
    slots[~active] = torch.nan
    slots.requires_grad_()
    got = loss(_output(slots, active))
    torch.testing.assert_close(got, kept)
    got.backward()
    assert (slots.grad[~active] == 0).all()
    assert (slots.grad[active].abs().sum(1) > 0).all()


def test_order_of_the_slots_does_not_matter() -> None:
    loss = CovarianceLoss(3, std_weight=1.0, **HEAD)
    slots = torch.randn(2, 4, 3)
    swapped = slots[:, [2, 0, 3, 1]]
    assert (slots - swapped).abs().max() > 0.1
    torch.testing.assert_close(loss(_output(swapped)), loss(_output(slots)))


def test_batch_norm_has_a_statistic_a_slot() -> None:
    loss = CovarianceLoss(3, head_norm='batch', num_slots=4, **HEAD)
    norms = [layer for layer in loss.head if isinstance(layer, nn.BatchNorm1d)]
    assert [norm.weight.shape for norm in norms] == [(4,), (4,)]
    assert not list(loss.buffers())
    slots = torch.randn(2, 4, 3)
    hidden = loss.head[:2](slots)
    torch.testing.assert_close(hidden.mean(dim=(0, 2)), torch.zeros(4), atol=1e-6, rtol=0)
    with pytest.raises(ValueError, match=r'num_slots=4, but there are 3'):
        loss(_output(slots[:, :3]))
    with pytest.raises(ValueError, match='cannot leave inactive slots out'):
        loss(_output(slots, torch.ones(2, 4, dtype=torch.bool)))


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        ({'weight': -1.0}, 'weight of CovarianceLoss must not be negative, got -1'),
        ({'cov_weight': -1.0}, 'cov_weight of'),
        ({'std_weight': -0.1}, 'std_weight of'),
        ({'gamma': -1.0}, 'gamma of'),
        ({'divisor': 'cubic'}, "got 'cubic'"),
        ({'head_norm': 'group'}, "got 'group'"),
        ({'head_channels': 0}, 'at least 1 or None, got 0'),
        ({'head_norm': 'batch'}, 'needs num_slots'),
    ],
)
def test_bad_arguments_are_refused(kwargs, message) -> None:
    with pytest.raises(ValueError, match=message):
        CovarianceLoss(3, **kwargs)


def test_one_slot_is_refused() -> None:
    with pytest.raises(ValueError, match='at least two slots'):
        _identity()(_output(SLOTS[:1, :1]))
    with pytest.raises(ValueError, match='at least two slots'):
        _identity()(_output(SLOTS[:1], torch.tensor([[True, False]])))


def test_the_covariance_stays_in_float32_under_autocast() -> None:
    # Deviations of 1e-3 around 1 are lost in bfloat16.
    slots = (1 + 1e-3 * torch.randn(4, 5, 8)).requires_grad_()
    loss = CovarianceLoss(8, head_channels=None, std_weight=1.0)
    full = loss(_output(slots))
    with torch.autocast('cpu', torch.bfloat16):
        half = loss(_output(slots))
    assert half.dtype == torch.float32
    assert torch.equal(half, full)


def test_a_head_trains_under_autocast() -> None:
    loss = CovarianceLoss(8, std_weight=1.0, head_channels=16)
    slots = torch.randn(4, 5, 8)
    with torch.autocast('cpu', torch.bfloat16):
        half = loss(_output(slots))
    half.backward()
    torch.testing.assert_close(half, loss(_output(slots)), rtol=0.03, atol=0)
    assert all(p.grad.isfinite().all() for p in loss.parameters())


def _model(**kwargs) -> nn.Module:
    return MODELS.build(
        {
            'type': 'SlotAutoencoder',
            'backbone': {'type': 'ConvEncoder', 'channels': 8, 'strides': (2,)},
            'slot_head': {
                'type': 'SlotAttention',
                'slot_dim': 12,
                'initializer': {'type': 'LearnedSlots', 'num_slots': 3},
            },
            'decoder': {'type': 'MLPDecoder', 'grid': (8, 8), 'hidden_channels': 8},
            'target': {'type': 'PixelTarget', 'patch_size': 2},
            'losses': [
                {'type': 'ReconstructionLoss'},
                {'type': 'CovarianceLoss', 'std_weight': 1.0, **HEAD, **kwargs},
            ],
        }
    )


@pytest.mark.parametrize('kwargs', [{}, {'head_norm': 'batch', 'num_slots': 3}])
def test_it_trains_in_a_model(kwargs) -> None:
    model = _model(**kwargs)
    head = model.losses[1].head
    assert head[0].in_features == 12
    images = torch.randn(2, 3, 16, 16)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.001)
    losses = model.loss(images)
    assert losses.keys() == {'loss_reconstruction', 'loss_covariance'}
    first = losses['loss_covariance'].item()
    total, logged = model.parse_losses(losses)
    torch.testing.assert_close(logged['loss'], losses['loss_reconstruction'] + first)
    total.backward(retain_graph=True)
    # None is left out, as DistributedDataParallel asks.
    assert all(p.grad is not None for p in model.parameters())
    assert head[0].weight.grad.abs().sum() > 0
    optimizer.zero_grad()
    losses['loss_covariance'].backward()
    assert model.backbone.layers[0].weight.grad.abs().sum() > 0
    optimizer.step()
    assert model.loss(images)['loss_covariance'] < first


def test_the_head_is_not_run_to_predict() -> None:
    model = _model()
    calls = []
    model.losses[1].head.register_forward_hook(lambda *_: calls.append(1))
    images = torch.randn(1, 3, 16, 16)
    model.predict(images)
    assert not calls
    model.loss(images)
    assert calls


def test_its_weight_can_be_annealed_by_its_path() -> None:
    model = _model()
    assert find_owner(model, 'losses.1.weight') == (model.losses[1], 'weight')
    model.losses[1].weight = 0.0
    losses = model.loss(torch.randn(2, 3, 16, 16))
    assert losses['loss_covariance'] == 0
    losses['loss_covariance'].backward()
    assert all(p.grad is not None for p in model.losses[1].parameters())
