"""What must hold for every slot head and option, whatever the numbers."""

from dataclasses import dataclass
from functools import partial
from itertools import product

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from mmocl.models.initializers import SlotInitializer
from mmocl.models.slot_heads import ProbabilisticSlotAttention, SlotAttention, SlotMixture
from mmocl.models.slot_heads.mixture import as_mixture_inputs
from mmocl.structures import Features, SlotInputs, SlotState

DIM = 8
PROFILE = settings(
    derandomize=True,
    deadline=None,
    max_examples=12,
    database=None,
    # The one function-scoped fixture resets registries, which no example touches.
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
MIXTURES = {
    f'psa-{p}-{u}-{v}-{s}': partial(
        ProbabilisticSlotAttention, projections=p, update=u, variance=v, variance_space=s
    )
    for p, u, v, s in product(
        ('none', 'q', 'qkv'), ('em', 'gru_mlp'), ('mle', 'map'), ('key', 'value')
    )
}
MIXTURES['psa-raw'] = partial(ProbabilisticSlotAttention, projections='none', normalize=False)
MIXTURES['psa-raw-map'] = partial(MIXTURES['psa-raw'], variance='map')
MIXTURES['smm'] = SlotMixture
HEADS = {
    f'sa-{heads}-{mode}': partial(
        SlotAttention, num_heads=heads, eps_mode=mode, eps=1e-8 if mode == 'attn' else 1.0
    )
    for heads, mode in product((1, 2), ('attn', 'sum'))
} | MIXTURES
every_head = pytest.mark.parametrize('name', HEADS)
every_mixture = pytest.mark.parametrize('name', MIXTURES)


class GivenSlots(SlotInitializer):
    """Slots start where the test says."""

    def __init__(self, start: torch.Tensor) -> None:
        super().__init__(*start.shape[1:])
        self.start = nn.Parameter(start)

    def forward(self, features, num_slots=None, noise=None) -> SlotState:
        return SlotState(self.start)


@dataclass
class Case:
    """Sizes and a seed; the numbers follow."""

    batch: int
    slots: int
    tokens: int
    seed: int

    def draw(self, dtype=torch.float64):
        rng = torch.Generator().manual_seed(self.seed)
        tokens = torch.randn(self.batch, self.tokens, DIM, generator=rng, dtype=torch.float64)
        start = torch.randn(self.batch, self.slots, DIM, generator=rng, dtype=torch.float64)
        return tokens.to(dtype), start.to(dtype), rng


CASES = st.builds(
    Case, st.integers(1, 3), st.integers(2, 5), st.integers(10, 24), st.integers(0, 10**6)
)


def _head(name: str, start: torch.Tensor, **options):
    torch.manual_seed(0)
    return HEADS[name](GivenSlots(start), DIM, **options).to(start.dtype)


def _run(name, tokens, start, mask=None, slot_mask=None, **options):
    head = _head(name, start, **options)
    return head(Features(tokens, (1, tokens.shape[1]), mask), slot_mask=slot_mask)


def _choice(batch: int, length: int, kept: int, rng) -> tuple[torch.Tensor, torch.Tensor]:
    """Choose as many places in every row: indices in order, and a mask."""
    index = torch.rand(batch, length, generator=rng).argsort(1)[:, :kept].sort(1).values
    return index, torch.zeros(batch, length, dtype=torch.bool).scatter_(1, index, True)


def _take(x: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Take other rows of every image."""
    return x.take_along_dim(index.view(*index.shape, *(1,) * (x.ndim - 2)), dim=1)


close = partial(torch.testing.assert_close, rtol=1e-7, atol=1e-8)


def _same(got: SlotState, want: SlotState) -> None:
    for key, value in vars(want).items():
        if value is not None:
            close(getattr(got, key), value)


def _assert_finite(head, output, *leaves) -> None:
    """All values, and all gradients of a sum that looks at slots, attention and state."""
    values = [v for v in (output.slots, output.attn, *vars(output.state).values()) if v is not None]
    assert all(v.isfinite().all() for v in values)
    sum(v.square().mean() for v in (output.slots, output.attn)).backward()
    for key, parameter in [*head.named_parameters(), *enumerate(leaves)]:
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key


@every_head
@given(case=CASES)
@PROFILE
def test_order_of_slots_is_kept_and_of_tokens_ignored(name, case) -> None:
    tokens, start, rng = case.draw()
    want = _run(name, tokens, start)
    slots = torch.randperm(case.slots, generator=rng)
    places = torch.randperm(case.tokens, generator=rng)
    got = _run(name, tokens[:, places], start[:, slots])
    close(got.slots, want.slots[:, slots])
    close(got.attn, want.attn[:, slots][:, :, places])
    _same(got.state, want.state.combine(lambda x: x[:, slots]))


@every_head
@given(case=CASES)
@PROFILE
def test_attention_and_weights_sum_to_one(name, case) -> None:
    tokens, start, _ = case.draw(torch.float32)
    output = _run(name, tokens, start)
    close(output.attn.sum(1), torch.ones(case.batch, case.tokens), rtol=0, atol=1e-5)
    assert (output.attn >= 0).all()
    if name in MIXTURES:
        weights = output.state.log_weight.exp().sum(1)
        close(weights, torch.ones(case.batch), rtol=0, atol=1e-5)


@every_head
@given(case=CASES, value=st.sampled_from([float('nan'), float('inf'), 1e30, 0.0]))
@PROFILE
def test_masked_tokens_do_not_exist(name, case, value) -> None:
    tokens, start, rng = case.draw()
    index, mask = _choice(case.batch, case.tokens, case.tokens - 4, rng)
    want = _run(name, _take(tokens, index), start)
    tokens = tokens.masked_fill(~mask[:, :, None], value).requires_grad_()
    head = _head(name, start)
    got = head(Features(tokens, (1, case.tokens), mask))
    close(got.slots, want.slots)
    _same(got.state, want.state)
    close(_take(got.attn.transpose(1, 2), index), want.attn.transpose(1, 2))
    assert (got.attn.transpose(1, 2)[~mask] == 0).all()
    _assert_finite(head, got, tokens)
    assert (tokens.grad[~mask] == 0).all()


@every_head
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@given(case=CASES)
@PROFILE
def test_masked_slots_do_not_exist(name, dtype, case) -> None:
    tokens, start, rng = case.draw(dtype)
    index, mask = _choice(case.batch, case.slots, case.slots - 1, rng)
    tokens.requires_grad_()
    head = _head(name, start)
    got = head(Features(tokens, (1, case.tokens)), slot_mask=mask)
    want = _run(name, tokens, _take(start, index))
    if dtype == torch.float64:
        close(_take(got.slots, index), want.slots)
        close(_take(got.attn, index), want.attn)
        _same(got.state.combine(lambda x: _take(x, index)), want.state)
    assert (got.attn[~mask] == 0).all()
    assert (got.active == mask).all()
    if name in MIXTURES:
        assert (got.state.log_weight[~mask].exp() == 0).all()
    _assert_finite(head, got, tokens)


EXTREMES = {
    'constant': lambda x: torch.ones_like(x),
    'zero': torch.zeros_like,
    'one token': lambda x: x[:, :1],
    'small': lambda x: x * 1e-6,
    'large': lambda x: x * 1e6,
    'offset': lambda x: x + 1e4,
    'twins': lambda x: torch.cat([x[:, :1], x], dim=1),
}


@every_head
@pytest.mark.parametrize('num_slots', [1, 4])
def test_extreme_tokens_keep_values_and_gradients_finite(name, num_slots) -> None:
    for key, change in EXTREMES.items():
        if key == 'one token' and num_slots > 1:
            continue
        tokens, start, _ = Case(2, num_slots, 12, 3).draw(torch.float32)
        tokens = change(tokens).requires_grad_()
        head = _head(name, start)
        output = head(Features(tokens, (1, tokens.shape[1])))
        try:
            _assert_finite(head, output, tokens)
        except AssertionError as error:
            raise AssertionError(f'{key}: {error}') from error
        if key == 'twins':
            close(output.attn[:, :, 0], output.attn[:, :, 1], rtol=0, atol=1e-5)


@every_head
@given(case=CASES)
@PROFILE
def test_bfloat16_autocast_agrees_with_float32(name, case) -> None:
    """One update: more of them multiply any difference, whatever its source.

    bfloat16 rounds by up to 2^-9. Layer-normed tokens have entries of about one and queries up to
    sqrt(D), so a logit, a sum of D = 8 products, is off by about D 2^-8 = 0.03 and no attention,
    a softmax of it, by more than half of that. Slots average values and pass at most a GRU and two
    more layers, which round again.
    """
    tokens, start, _ = case.draw(torch.float32)
    want = _run(name, tokens, start, num_iters=1)
    with torch.autocast('cpu', torch.bfloat16):
        got = _run(name, tokens, start, num_iters=1)
    close(got.attn.float(), want.attn, rtol=0, atol=0.03)
    close(got.slots.float(), want.slots, rtol=0, atol=0.06)


@every_head
def test_float64_stays(name) -> None:
    tokens, start, _ = Case(2, 3, 12, 0).draw()
    output = _run(name, tokens, start)
    parts = [output.slots, output.attn, *vars(output.state).values()]
    assert all(x.dtype == torch.float64 for x in parts if x is not None)


@every_mixture
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_tokens_are_promoted_for_the_e_step(name, dtype) -> None:
    tokens, start, _ = Case(2, 3, 12, 0).draw(torch.float32)
    head = _head(name, start)
    keys, values = (x.to(dtype) for x in head.project(tokens))
    init = head.complete(SlotState(start))
    results = []
    for projected in ((keys, values), (keys.float(), values.float())):
        space = getattr(head, 'variance_space', 'key')
        inputs = as_mixture_inputs(SlotInputs(*projected), head.min_var, space, True)
        results.append(head.step(init, inputs))
    (state, attn), want = results
    assert attn.dtype == state.mean.dtype == torch.float32
    close(attn, want[1])
    _same(state, want[0])


@every_head
def test_no_iteration_returns_the_start(name) -> None:
    tokens, start, _ = Case(2, 3, 12, 0).draw()
    built = _head(name, start, num_iters=0)
    called = _head(name, start, num_iters=3)
    features = Features(tokens, (3, 4))
    outputs = [built(features), called(features, num_iters=0)]
    for head, output in zip((built, called), outputs, strict=True):
        want = head.to_slots(output.init) if name == 'smm' else start
        assert torch.equal(output.slots, want)
        assert torch.equal(output.state.mean, start)
    close(outputs[0].attn.sum(1), torch.ones(2, 12, dtype=torch.float64))
    close(outputs[0].attn, outputs[1].attn)


@every_head
def test_number_of_iterations_can_be_given_at_the_call(name) -> None:
    tokens, start, _ = Case(2, 3, 12, 0).draw()
    features = Features(tokens, (3, 4))
    got = _head(name, start, num_iters=1)(features, num_iters=4)
    want = _head(name, start, num_iters=4)(features)
    assert torch.equal(got.slots, want.slots)
    assert not torch.allclose(got.slots, _head(name, start, num_iters=1)(features).slots)


@every_mixture
@given(case=CASES, threshold=st.sampled_from([0.05, 0.2, 0.3, 0.9]), masked=st.booleans())
@PROFILE
def test_pruning_keeps_the_weighty_and_the_heaviest(name, case, threshold, masked) -> None:
    tokens, start, rng = case.draw()
    _, mask = _choice(case.batch, case.slots, case.slots - 1, rng)
    slot_mask = mask if masked else None
    full = _run(name, tokens, start, slot_mask=slot_mask)
    assert full.active is slot_mask
    got = _run(name, tokens, start, slot_mask=slot_mask, prune_threshold=threshold)
    weights = got.state.log_weight.exp()
    want = weights > threshold
    want.scatter_(1, weights.argmax(1, keepdim=True), True)
    assert torch.equal(got.active, want)
    assert (got.attn[~want] == 0).all()
    kept = full.attn * want[:, :, None]
    # The others get what it had, in proportion.
    close(got.attn, kept / kept.sum(1, keepdim=True), rtol=1e-5)
    close(got.attn.sum(1), torch.ones(case.batch, case.tokens, dtype=torch.float64))
    _same(got.state, full.state)
