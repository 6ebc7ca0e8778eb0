import pytest
import torch

from mmocl.models.initializers import GaussianSlots, LearnedSlots, TransformerSlots
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


@pytest.mark.parametrize('mode', ['additive', 'multiplicative'])
def test_noise_of_learned_slots_has_the_scale_of_its_mode(mode) -> None:
    init = LearnedSlots(num_slots=6, slot_dim=8, sigma=0.5, noise_mode=mode)
    torch.nn.init.uniform_(init.queries, -3, 3)
    queries = init.queries[0].detach()
    draws = torch.cat([init(FEATURES).mean for _ in range(16)]).detach()
    scale = 0.5 * queries.abs() if mode == 'multiplicative' else torch.full_like(queries, 0.5)
    # 8192 draws: both bounds are five to six standard errors.
    torch.testing.assert_close((draws.mean(0) - queries) / scale, 0 * queries, atol=0.06, rtol=0)
    torch.testing.assert_close(draws.std(0) / scale, torch.ones_like(scale), atol=0.045, rtol=0)


@pytest.mark.parametrize('mode', ['additive', 'multiplicative'])
def test_gradient_of_learned_slots_passes_by_the_noise(mode) -> None:
    init = LearnedSlots(num_slots=6, slot_dim=8, sigma=0.5, noise_mode=mode)
    init(FEATURES).mean.mean(dim=0).sum().backward()
    torch.testing.assert_close(init.queries.grad, torch.ones(1, 6, 8))


def test_learned_slots_are_noisy_in_training_only() -> None:
    init = LearnedSlots(num_slots=6, slot_dim=8, sigma=0.5)
    assert (init(FEATURES).mean.std(0) > 0.1).all()
    init.eval()
    torch.testing.assert_close(init(FEATURES).mean, init.queries.expand(512, -1, -1))
    # The hook has come to the end.
    init.train().sigma = 0.0
    torch.testing.assert_close(init(FEATURES).mean, init.queries.expand(512, -1, -1))


@pytest.mark.parametrize('training', [True, False])
def test_learned_slots_use_injected_noise(training) -> None:
    noise = torch.randn(512, 6, 8)
    for mode in ('additive', 'multiplicative'):
        init = LearnedSlots(num_slots=6, slot_dim=8, sigma=0.5, noise_mode=mode).train(training)
        factor = init.queries if mode == 'multiplicative' else 1
        expected = init.queries + 0.5 * noise * factor
        torch.testing.assert_close(init(FEATURES, noise=noise).mean, expected)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [({'noise_mode': 'both'}, "got 'both'"), ({'sigma': -0.1}, r'negative, got -0\.1')],
)
def test_learned_slots_refuse_other_settings(arguments, message) -> None:
    with pytest.raises(ValueError, match=message):
        LearnedSlots(num_slots=6, slot_dim=8, **arguments)


def test_seeded_noise_is_shared_by_all_images() -> None:
    init = GaussianSlots(num_slots=6, slot_dim=8)
    state = torch.get_rng_state()
    noise = init.seeded_noise(3)
    assert noise.shape == (3, 6, 8)
    assert (noise == noise[:1]).all()
    assert torch.equal(torch.get_rng_state(), state)
    # The first draws do not depend on how many follow, for images or slots.
    assert torch.equal(init.seeded_noise(1, 2), noise[:1, :2])
    assert not torch.equal(init.seeded_noise(3, seed=1), noise)
    torch.testing.assert_close(
        init.seeded_noise(1, 999).std(), torch.tensor(1.0), atol=0.05, rtol=0
    )
    slots = init(Features(torch.zeros(3, 9, 4), (3, 3)), noise=noise).mean
    assert (slots == slots[:1]).all()
    with pytest.raises(ValueError, match='needs at least one slot, got num_slots=0'):
        init.seeded_noise(3, 0)


def test_what_draws_nothing_needs_no_noise() -> None:
    init = LearnedSlots(num_slots=6, slot_dim=8, sigma=0.5)
    assert init.seeded_noise(3) is None
    init = TransformerSlots(num_slots=6, slot_dim=8, num_layers=1)
    noise = init.seeded_noise(2, 4)
    assert init(Features(torch.zeros(2, 9, 8), (3, 3)), 4, noise).mean.shape == (2, 4, 8)
