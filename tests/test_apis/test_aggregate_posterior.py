import math

import pytest
import torch
from safetensors.torch import save_file
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from mmocl.apis import AggregatePosterior, aggregate_posterior
from mmocl.structures import SlotOutput, SlotState

INF = math.inf


def _state(batch=6, num_slots=3, width=4, dtype=torch.float64, seed=1) -> SlotState:
    generator = torch.Generator().manual_seed(seed)
    mean, log_var = torch.randn(2, batch, num_slots, width, generator=generator, dtype=dtype)
    logits = torch.randn(batch, num_slots, generator=generator, dtype=dtype)
    return SlotState(3 * mean, log_var, logits.log_softmax(1))


def _output(state: SlotState, active: torch.Tensor | None = None) -> SlotOutput:
    attn = torch.zeros(*state.mean.shape[:2], 5)
    return SlotOutput(state.mean, attn, state, state, active)


def _rows(state: SlotState, rows: slice) -> SlotState:
    return state.combine(lambda x: x[rows])


def _posterior(*states: SlotState) -> AggregatePosterior:
    posterior = AggregatePosterior()
    for state in states:
        posterior.add(state)
    return posterior


def _reference(state: SlotState) -> MixtureSameFamily:
    """Lemma 1, built by PyTorch's distributions."""
    mean, log_var, log_weight = state.mean, state.log_var, state.log_weight
    assert log_var is not None
    assert log_weight is not None
    components = Normal(mean.flatten(0, 1), (0.5 * log_var).exp().flatten(0, 1))
    weights = (log_weight.exp() / len(mean)).flatten()
    return MixtureSameFamily(Categorical(weights), Independent(components, 1))


POINTS = 3 * torch.randn(50, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize('chunk', [1, 7, 2048])
def test_log_prob_is_that_of_the_mixture_however_it_is_cut(chunk, monkeypatch) -> None:
    monkeypatch.setattr(aggregate_posterior, '_CHUNK', chunk)
    state = _state()
    got = _posterior(state).log_prob(POINTS)
    assert got.dtype == torch.float64
    torch.testing.assert_close(got, _reference(state).log_prob(POINTS), rtol=1e-10, atol=1e-10)


def test_log_prob_never_sees_more_than_a_chunk(monkeypatch) -> None:
    shapes = []

    def spy(points, mean, log_var):
        shapes.append((*points.shape, *mean.shape))
        return density(points, mean, log_var)

    density = aggregate_posterior.diagonal_log_density
    monkeypatch.setattr(aggregate_posterior, 'diagonal_log_density', spy)
    monkeypatch.setattr(aggregate_posterior, '_CHUNK', 8)
    _posterior(_state()).log_prob(POINTS)
    assert len(shapes) == 7 * 3  # 50 points, 18 components
    assert max(shapes) == (1, 8, 4, 1, 8, 4)


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16, torch.float32])
def test_log_prob_is_in_float32_for_shorter_types(dtype) -> None:
    state, points = _state(), POINTS.to(dtype)
    with torch.autocast('cpu', torch.bfloat16):
        got = _posterior(state).log_prob(points)
    assert got.dtype == torch.float32
    want = _reference(state).log_prob(points.double())
    torch.testing.assert_close(got.double(), want, rtol=1e-5, atol=1e-4)


def test_far_points_have_finite_log_probs() -> None:
    points = torch.tensor([[200.0] * 4])
    state = _state(dtype=torch.float32)
    (got,) = _posterior(state).log_prob(points).tolist()
    assert got < -5000  # the density itself is 0 in every dtype
    assert got == pytest.approx(_reference(state).log_prob(points).item(), rel=1e-5)


def test_log_prob_of_narrow_components_is_exact_in_float32() -> None:
    state = _state(dtype=torch.float32)
    state = SlotState(state.mean, torch.full_like(state.mean, math.log(1e-6)), state.log_weight)
    points = state.mean.flatten(0, 1)[::2] + 1e-3
    want = _reference(state.combine(torch.Tensor.double)).log_prob(points.double())
    got = _posterior(state).log_prob(points)
    torch.testing.assert_close(got.double(), want, rtol=1e-6, atol=1e-5)


def test_densities_below_the_range_of_float32_are_zero() -> None:
    state = _state(dtype=torch.float32)
    collapsed = SlotState(state.mean, torch.full_like(state.mean, -87.0), state.log_weight)
    posterior = _posterior(collapsed)
    far = 10 * POINTS
    assert (posterior.log_prob(far.float()) == -INF).all()
    assert posterior.log_prob(far).isfinite().all()


def test_streaming_in_batches_equals_one_go() -> None:
    state = _state()
    whole = _posterior(state)
    parts = AggregatePosterior()
    for rows in (slice(0, 1), slice(1, 5)):
        parts.add(_rows(state, rows))
    assert parts.num_components == 15
    parts.log_prob(POINTS)  # reading in between loses nothing
    parts.add(_output(_rows(state, slice(5, 6))))
    assert parts.num_images == whole.num_images == 6
    assert parts.num_components == whole.num_components == 18
    for name in ('weights', 'mean', 'std'):
        torch.testing.assert_close(getattr(parts, name), getattr(whole, name), rtol=0, atol=0)
    torch.testing.assert_close(whole.weights, _reference(state).mixture_distribution.probs)
    torch.testing.assert_close(whole.weights.sum(), torch.ones((), dtype=torch.float64))
    torch.testing.assert_close(whole.std.square().log(), state.log_var.flatten(0, 1))


def test_what_was_added_is_detached_and_stays() -> None:
    state = _state(dtype=torch.bfloat16)
    state.mean.requires_grad_()
    posterior = _posterior(state)
    before = posterior.mean.clone()
    with torch.no_grad():
        state.mean.add_(1)
    assert not posterior.mean.requires_grad
    assert posterior.mean.dtype == posterior.weights.dtype == torch.float32
    torch.testing.assert_close(posterior.mean, before)
    torch.testing.assert_close(posterior.weights.sum(), torch.ones(()))


def test_inactive_slots_are_dropped_and_weights_renormalised() -> None:
    state = _state(batch=2)
    assert state.log_weight is not None
    state.mean[0, 1] = math.nan  # whatever an inactive slot holds
    active = torch.tensor([[True, False, True], [True, True, True]])
    posterior = AggregatePosterior()
    posterior.add(_output(state, active))
    assert posterior.num_components == 5
    weights = state.log_weight.exp()
    want = torch.cat([weights[0, [0, 2]] / weights[0, [0, 2]].sum(), weights[1]]) / 2
    torch.testing.assert_close(posterior.weights, want)
    torch.testing.assert_close(posterior.mean, state.mean[active])


def test_samples_have_the_moments_of_the_mixture() -> None:
    state = _state(batch=2, num_slots=2)
    want = _reference(state)
    generator = torch.Generator().manual_seed(3)
    samples = _posterior(state).sample(100_000, generator)
    assert samples.shape == (100_000, 4)
    error = (want.variance / len(samples)).sqrt()
    assert ((samples.mean(0) - want.mean).abs() < 5 * error).all()
    torch.testing.assert_close(samples.var(0), want.variance, rtol=0.03, atol=0)


def test_components_are_drawn_by_weight_and_never_without_one() -> None:
    weights = torch.tensor([[0.0, 0.5, 0.1, 0.4, 0.0]])
    mean = torch.arange(5.0)[None, :, None]
    posterior = _posterior(SlotState(mean, torch.full_like(mean, -20.0), weights.log()))
    assert posterior.num_components == 5
    drawn = posterior.sample(20_000, torch.Generator().manual_seed(0)).round().long().flatten()
    counts = drawn.bincount(minlength=5) / len(drawn)
    assert counts[0] == counts[4] == 0
    torch.testing.assert_close(counts, weights[0], rtol=0, atol=0.02)
    assert posterior.log_prob(mean[0]).isfinite().all()


def test_components_can_be_drawn_alike() -> None:
    weight = torch.tensor([[0.9, 0.1, 0.0]], dtype=torch.float64)
    mean = torch.tensor([[[0.0], [10.0], [20.0]]], dtype=torch.float64)
    posterior = _posterior(SlotState(mean, torch.full_like(mean, -20), weight.log()))
    drawn = posterior.sample(2000, torch.Generator().manual_seed(0), equal_weights=True).round()
    assert set(drawn.flatten().tolist()) == {0.0, 10.0}
    assert 0.45 < (drawn == 10).double().mean() < 0.55


def test_a_draw_of_exactly_zero_takes_no_component_without_weight(monkeypatch) -> None:
    monkeypatch.setattr(torch, 'rand', lambda shape, **_: torch.zeros(shape, dtype=torch.float64))
    mean = torch.arange(2.0)[None, :, None]
    weights = torch.tensor([[0.0, 1.0]])
    posterior = _posterior(SlotState(mean, torch.full_like(mean, -20.0), weights.log()))
    assert posterior.sample(3).round().flatten().tolist() == [1, 1, 1]


def test_sampling_follows_its_generator() -> None:
    posterior = _posterior(_state())
    seeded = [torch.Generator().manual_seed(seed) for seed in (0, 0, 1)]
    scenes = [posterior.sample_scenes(5, 3, generator) for generator in seeded]
    assert scenes[0].shape == (5, 3, 4)
    torch.testing.assert_close(scenes[0], scenes[1], rtol=0, atol=0)
    assert not torch.allclose(scenes[0], scenes[2])
    flat = posterior.sample((15,), torch.Generator().manual_seed(0))
    torch.testing.assert_close(scenes[0].flatten(0, 1), flat)


def test_a_saved_posterior_comes_back(tmp_path) -> None:
    state = _state()
    assert state.log_weight is not None
    state.log_weight[0, 0] = -1e4  # its weight is 0, its log is not
    posterior = _posterior(_rows(state, slice(0, 4)))
    path = tmp_path / 'new' / 'posterior.safetensors'
    posterior.save(path)
    loaded = AggregatePosterior.load(path)
    assert loaded.num_images == 4
    far = state.mean[0, :1] + 0.1
    for points in (POINTS, far):
        torch.testing.assert_close(
            loaded.log_prob(points), posterior.log_prob(points), rtol=0, atol=0
        )
    loaded.add(_rows(state, slice(4, 6)))
    torch.testing.assert_close(loaded.log_prob(POINTS), _posterior(state).log_prob(POINTS))
    loaded.save(str(path))
    assert AggregatePosterior.load(str(path)).num_images == 6


def test_files_of_another_kind_are_refused(tmp_path) -> None:
    path = tmp_path / 'other.safetensors'
    save_file({'mean': torch.zeros(2, 3)}, path)
    with pytest.raises(ValueError, match=r'other\.safetensors holds no aggregate posterior'):
        AggregatePosterior.load(path)
    torch.save({'state_dict': {}}, tmp_path / 'model.pth')
    with pytest.raises(ValueError, match=r'model\.pth is no readable safetensors file'):
        AggregatePosterior.load(tmp_path / 'model.pth')
    with pytest.raises(FileNotFoundError):
        AggregatePosterior.load(tmp_path / 'absent.safetensors')


def _changed(field: str, value: float) -> SlotState:
    state = _state(batch=2)
    getattr(state, field)[1, 0] = value
    return state


@pytest.mark.parametrize(
    ('state', 'active', 'match'),
    [
        (SlotState(torch.zeros(2, 3, 4)), None, 'ProbabilisticSlotAttention gives them'),
        (SlotState(torch.zeros(2, 3, 4), torch.zeros(2, 3, 4)), None, 'log_var and log_weight'),
        (_changed('mean', math.nan), None, 'NaN or infinite'),
        (_changed('log_var', -INF), None, 'NaN or infinite'),
        (_changed('log_weight', math.nan), None, 'NaN or infinite'),
        (_changed('log_weight', INF), None, 'NaN or infinite'),
        (_state(width=5), None, '5 wide, those before were 4 wide'),
        (_state(batch=2), [[True] * 3, [False] * 3], '1 of 2 images have no active slot'),
        (_changed('log_weight', -INF), [[True] * 3, [True, False, False]], '1 of 2 images'),
    ],
)
def test_a_bad_batch_is_refused_whole(state, active, match) -> None:
    posterior = _posterior(_state())
    with pytest.raises(ValueError, match=match):
        posterior.add(_output(state, None if active is None else torch.tensor(active)))
    assert posterior.num_images == 6
    assert posterior.num_components == 18


def test_an_empty_posterior_says_so(tmp_path) -> None:
    posterior = AggregatePosterior()
    assert posterior.num_images == posterior.num_components == 0
    for call in (
        lambda: posterior.sample(3),
        lambda: posterior.sample_scenes(2, 3),
        lambda: posterior.log_prob(POINTS),
        lambda: posterior.save(tmp_path / 'empty.safetensors'),
        lambda: posterior.mean,
    ):
        with pytest.raises(ValueError, match='is empty'):
            call()
    assert not list(tmp_path.iterdir())


def test_points_of_another_width_are_refused() -> None:
    with pytest.raises(ValueError, match='Points are 3 wide, slots 4'):
        _posterior(_state()).log_prob(POINTS[:, :3])


@pytest.mark.parametrize('value', [math.nan, INF])
def test_points_that_are_not_finite_are_refused(value) -> None:
    points = POINTS.clone()
    points[3, 1] = value
    with pytest.raises(ValueError, match='Points have NaN or infinite values'):
        _posterior(_state()).log_prob(points)
