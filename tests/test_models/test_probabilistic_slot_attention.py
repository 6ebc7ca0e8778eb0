import math

import pytest
import torch

from mmocl.models.slot_heads import ProbabilisticSlotAttention
from mmocl.structures import Features, SlotState


def _direct_density(points, mean, log_var):
    """The textbook formula with its (B, K, N, D) tensor, in float64."""
    points, mean, log_var = points.double(), mean.double(), log_var.double()
    distance = (points[:, None] - mean[:, :, None]).square() / log_var.exp()[:, :, None]
    return -0.5 * (distance + log_var[:, :, None] + math.log(2 * math.pi)).sum(-1)


def _textbook(dim: int) -> ProbabilisticSlotAttention:
    return ProbabilisticSlotAttention(
        {'type': 'LearnedSlots', 'num_slots': 3},
        in_channels=dim,
        slot_dim=dim,
        projections='none',
        update='em',
        normalize=False,
        variance_space='value',
        logit_scale=1.0,
        min_var=0.0,
    ).double()


def test_likelihood_never_falls() -> None:
    head = _textbook(6)
    points = torch.randn(1, 40, 6, dtype=torch.float64)
    state = head.complete(SlotState(points[:, :3]))
    inputs = head.prepare(Features(points, (5, 8)), None, 3, 15)
    history = []
    for _ in range(15):
        density = _direct_density(points, state.mean, state.log_var) + state.log_weight[:, :, None]
        history.append(density.logsumexp(1).mean())
        state, _ = head.step(state, inputs)
    assert (torch.stack(history).diff() >= -1e-9).all()
    assert history[-1] > history[0] + 0.1


@pytest.mark.parametrize('projections', ['none', 'q', 'qkv'])
@pytest.mark.parametrize('update', ['em', 'gru_mlp'])
@pytest.mark.parametrize('variance_space', ['key', 'value'])
def test_variants_keep_a_proper_mixture(projections, update, variance_space) -> None:
    head = ProbabilisticSlotAttention(
        {'type': 'GaussianSlots', 'num_slots': 4},
        in_channels=16,
        slot_dim=16,
        projections=projections,
        update=update,
        variance_space=variance_space,
        num_iters=5,
    )
    output = head(Features(torch.randn(2, 64, 16), (8, 8)))
    torch.testing.assert_close(output.attn.sum(1), torch.ones(2, 64))
    torch.testing.assert_close(output.state.log_weight.exp().sum(1), torch.ones(2))
    assert output.slots.isfinite().all()
    output.slots.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())


@pytest.mark.parametrize('projections', ['none', 'qkv'])
@pytest.mark.parametrize('normalize', [True, False])
def test_equal_tokens_do_not_break_it(projections, normalize) -> None:
    head = ProbabilisticSlotAttention(
        {'type': 'GaussianSlots', 'num_slots': 4},
        16,
        16,
        projections=projections,
        normalize=normalize,
    )
    output = head(Features(torch.ones(1, 64, 16), (8, 8)))
    assert output.slots.isfinite().all()


@pytest.mark.parametrize('projections', ['q', 'qkv'])
def test_agrees_with_the_printed_algorithms(projections) -> None:
    """Algorithms 2 and 1 of the paper, written out in loops over (B, K, N, D) in float64."""
    head = ProbabilisticSlotAttention(
        {'type': 'LearnedSlots', 'num_slots': 3},
        8,
        8,
        num_iters=4,
        projections=projections,
        normalize=False,
        variance_space='value',
        logit_scale=1.0,
        min_var=0.0,
    ).double()
    tokens = torch.randn(2, 30, 8, dtype=torch.float64)
    keys, values = head.to_key(tokens), head.to_value(tokens)
    mean = head.initializer.queries.expand(2, -1, -1)
    var, weight = torch.ones_like(mean), torch.full((2, 3), 1 / 3, dtype=torch.float64)
    for _ in range(4):
        density = _direct_density(keys, head.to_query(mean), var.log())
        attn = (density + weight.log()[..., None]).softmax(1)
        share = attn / attn.sum(2, keepdim=True)
        mean = torch.einsum('bkn,bnd->bkd', share, values)
        var = torch.einsum('bkn,bknd->bkd', share, (values[:, None] - mean[:, :, None]).square())
        weight = attn.mean(2)
    output = head(Features(tokens, (5, 6)))
    torch.testing.assert_close(output.slots, mean)
    torch.testing.assert_close(output.attn, attn)
    leaves = list(head.parameters())
    got = torch.autograd.grad(output.slots.square().sum(), leaves)
    want = torch.autograd.grad(mean.square().sum(), leaves)
    torch.testing.assert_close(got, want)
    torch.testing.assert_close(output.state.log_var.exp(), var)
    torch.testing.assert_close(output.state.log_weight.exp(), weight)


def test_variances_and_weights_of_an_initializer_are_kept() -> None:
    head = ProbabilisticSlotAttention({'type': 'GaussianSlots', 'num_slots': 4}, 16, 16)
    state = SlotState(torch.zeros(1, 4, 16), torch.ones(1, 4, 16), torch.zeros(1, 4))
    assert head.complete(state) == state


def test_e_step_keeps_full_precision_under_autocast() -> None:
    head = ProbabilisticSlotAttention({'type': 'LearnedSlots', 'num_slots': 4}, 16, 16)
    features = Features(torch.randn(2, 64, 16), (8, 8))
    with torch.autocast('cpu', torch.bfloat16):
        output = head(features)
    assert output.attn.dtype == torch.float32
    assert output.slots.dtype == torch.float32


def test_raw_tokens_must_have_the_slot_width() -> None:
    with pytest.raises(ValueError, match='slot_dim 8 must be their width 16'):
        ProbabilisticSlotAttention(
            {'type': 'GaussianSlots', 'num_slots': 4}, 16, 8, projections='q'
        )


def test_map_variance_is_pulled_to_the_prior() -> None:
    """The formula of the docstring, on the responsibilities of the same step."""
    options = {'projections': 'none', 'normalize': False, 'min_var': 0.0, 'num_iters': 1}
    initializer = {'type': 'LearnedSlots', 'num_slots': 3}
    head = ProbabilisticSlotAttention(initializer, 8, variance='map', **options).double()
    tokens = torch.randn(2, 30, 8, dtype=torch.float64)
    output = head(Features(tokens, (5, 6)))
    count = output.attn.sum(2, keepdim=True)
    mean = output.attn @ tokens / count
    squares = (tokens[:, None] - mean[:, :, None]).square()
    scatter = torch.einsum('bkn,bknd->bkd', output.attn, squares)
    prior = tokens.var(1, correction=0, keepdim=True) / 3 ** (1 / 8)
    want = (prior + scatter) / (count + 2 * 8 + 4)
    torch.testing.assert_close(output.state.log_var.exp(), want)


def test_sampled_slots_follow_their_gaussians_in_training_only() -> None:
    head = ProbabilisticSlotAttention(
        {'type': 'LearnedSlots', 'num_slots': 2}, 4, variance_space='value', slot_output='sample'
    )
    tokens = torch.randn(1, 16, 4).expand(4096, -1, -1)
    output = head(Features(tokens, (4, 4)))
    torch.testing.assert_close(output.slots.mean(0), output.state.mean[0], atol=0.1, rtol=0)
    std = (0.5 * output.state.log_var[0]).exp()
    torch.testing.assert_close(output.slots.std(0), std, atol=0.02, rtol=0.1)
    output.slots.square().sum().backward()
    assert head.to_value.weight.grad.abs().sum() > 0
    output = head.eval()(Features(tokens, (4, 4)))
    torch.testing.assert_close(output.slots, output.state.mean)


@pytest.mark.parametrize('options', [{'variance_space': 'key'}, {'update': 'gru_mlp'}])
def test_slots_cannot_be_sampled_from_variances_of_another_space(options) -> None:
    options = {'variance_space': 'value', **options}
    with pytest.raises(ValueError, match='in the space of the slots'):
        ProbabilisticSlotAttention(
            {'type': 'LearnedSlots', 'num_slots': 2}, 4, slot_output='sample', **options
        )


@pytest.mark.parametrize('option', ['projections', 'update', 'variance', 'variance_space'])
def test_unknown_options_are_named(option) -> None:
    with pytest.raises(ValueError, match=f"{option} must be one of .*, got 'other'"):
        ProbabilisticSlotAttention({'type': 'LearnedSlots', 'num_slots': 2}, 4, **{option: 'other'})
