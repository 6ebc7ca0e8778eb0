"""No step of PSA or SMM makes a (B, K, N, D) tensor, nor takes as much memory."""

from functools import partial

import pytest
import torch

from benchmarks.peak_memory import track
from mmocl.models.layers import diagonal_log_density, weighted_variance
from mmocl.models.slot_heads import ProbabilisticSlotAttention, SlotMixture
from mmocl.structures import Features

B, K, N, D = 2, 12, 256, 32
UNIT = B * N * D * 4  # bytes of the tokens
DIRECT = K * UNIT  # bytes of one float32 (B, K, N, D) tensor


def _direct(points, mean, log_var):
    offset = points[:, None] - mean[:, :, None]
    return -0.5 * (offset.square() / log_var.exp()[:, :, None] + log_var[:, :, None]).sum(-1)


def _draw():
    return [torch.randn(B, n, D, requires_grad=True) for n in (N, K, K)]


def test_the_tracker_counts_and_forgets() -> None:
    x = torch.ones(1000)
    memory = track(lambda: (x + 1).square().exp())
    assert memory.largest == 1000
    assert 2 * 4000 <= memory.peak <= 3 * 4000
    assert memory.live == 0
    assert track(lambda: x.view(10, 100).expand(5, 10, 100)).peak == 0


def test_the_tracker_catches_the_direct_form() -> None:
    memory = track(lambda: _direct(*_draw()).sum().backward())
    assert memory.largest == B * K * N * D
    assert memory.peak > 2 * DIRECT


@pytest.mark.parametrize('backward', [False, True])
def test_density_and_variance_take_a_few_copies_of_the_tokens(backward) -> None:
    """Forward one float64 copy, squared in place; backward four of the type of the tokens."""
    points, mean, log_var = _draw()
    weights = torch.randn(B, K, N).softmax(2).requires_grad_()
    small = 8 * B * K * N * 8  # responsibilities in float64
    for function in (
        lambda: diagonal_log_density(points, mean, log_var),
        lambda: weighted_variance(points, weights, mean),
    ):
        memory = track(lambda f=function: f().sum().backward() if backward else f())
        assert memory.largest == B * N * D
        assert memory.peak <= (5 if backward else 2) * UNIT + small


@pytest.mark.parametrize('backward', [False, True])
@pytest.mark.parametrize('shape', [(8, 1024), (1, 16384)])
def test_a_density_takes_a_tenth_of_the_memory_of_the_direct_form(shape, backward) -> None:
    batch, num_tokens = shape
    inputs = [torch.randn(batch, n, 64, requires_grad=True) for n in (num_tokens, 7, 7)]
    peaks = []
    for function in (diagonal_log_density, _direct):
        memory = track(lambda f=function: f(*inputs).sum().backward() if backward else f(*inputs))
        peaks.append(memory.peak)
    assert 10 * peaks[0] <= peaks[1]


@pytest.mark.parametrize('num_iters', [1, 4])
@pytest.mark.parametrize(
    'build',
    [
        partial(ProbabilisticSlotAttention, variance=v, variance_space=s, update=u)
        for v, s, u in (('mle', 'key', 'em'), ('map', 'value', 'gru_mlp'))
    ]
    + [SlotMixture],
)
def test_heads_never_make_a_tensor_of_all_pairs_and_channels(build, num_iters) -> None:
    """Tokens are kept a few times, responsibilities a few times a step."""
    head = build({'type': 'GaussianSlots', 'num_slots': K}, D, num_iters=num_iters)
    tokens = torch.randn(B, N, D, requires_grad=True)
    features = Features(tokens, (16, 16))
    memory = track(lambda: head(features).slots.square().sum().backward())
    assert memory.largest == B * N * D
    # A step keeps logits and responsibilities in both types and what slots of width D need.
    step = 12 * B * K * N * 8 + 128 * B * K * D * 4
    assert memory.peak <= 12 * UNIT + num_iters * step
    if num_iters == 1:
        assert memory.peak < 2 * DIRECT
