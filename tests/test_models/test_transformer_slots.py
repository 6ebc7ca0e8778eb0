import pytest
import torch

from mmocl.models.initializers import TransformerSlots
from mmocl.models.slot_heads import SlotMixture
from mmocl.registry import MODELS
from mmocl.structures import Features


def _features(batch: int = 3, channels: int = 8, mask=None) -> Features:
    return Features(torch.randn(batch, 9, channels), (3, 3), mask)


def test_slots_are_mean_plus_scaled_noise() -> None:
    init = TransformerSlots(num_slots=4, slot_dim=8)
    features = _features()
    mean, log_scale = init.distribution(features)
    assert mean.shape == log_scale.shape == (3, 1, 16)
    noise = torch.randn(3, 5, 16)
    state = init(features, num_slots=5, noise=noise)
    drawn = mean + log_scale.exp() * noise
    torch.testing.assert_close(state.mean, drawn[:, :, :8])
    # The second half is a log standard deviation, the state holds a log-variance.
    torch.testing.assert_close(state.log_var.mul(0.5).exp(), drawn[:, :, 8:].exp())


def test_draws_follow_the_distribution() -> None:
    init = TransformerSlots(num_slots=4096, slot_dim=8)
    features = _features(2)
    state = init(features)
    mean, log_scale = init.distribution(features)
    drawn = torch.cat([state.mean, 0.5 * state.log_var], dim=2)
    standard = (drawn - mean) / log_scale.exp()
    torch.testing.assert_close(standard.mean(1), torch.zeros(2, 16), atol=0.08, rtol=0)
    torch.testing.assert_close(standard.std(1), torch.ones(2, 16), atol=0.06, rtol=0)


def test_the_start_depends_on_the_image_and_not_on_the_batch() -> None:
    init = TransformerSlots(num_slots=4, slot_dim=8)
    features = _features()
    mean, _ = init.distribution(features)
    assert (mean[0] - mean[1]).abs().max() > 1e-2
    alone, _ = init.distribution(Features(features.tokens[:1], (3, 3)))
    torch.testing.assert_close(alone, mean[:1])


def test_mean_and_scale_are_read_off_their_own_tokens() -> None:
    init = TransformerSlots(num_slots=4, slot_dim=8)
    for layer in init.transformer.layers:
        # Tokens no longer see each other.
        torch.nn.init.zeros_(layer.self_attn.out_proj.weight)
    tokens = (init.mean_token, init.scale_token)
    for i, value in enumerate(init.distribution(_features())):
        grads = torch.autograd.grad(value.square().sum(), tokens, retain_graph=True)
        assert grads[i].abs().sum() > 0
        assert grads[1 - i].abs().sum() == 0


def test_the_order_of_tokens_does_not_matter() -> None:
    init = TransformerSlots(num_slots=4, slot_dim=8)
    features = _features()
    shuffled = Features(features.tokens[:, torch.randperm(9)], (3, 3))
    torch.testing.assert_close(init.distribution(shuffled)[0], init.distribution(features)[0])


@pytest.mark.parametrize('training', [True, False])
def test_padding_is_as_if_it_were_not_there(training) -> None:
    # In evaluation without a gradient PyTorch takes another path through the layers.
    init = TransformerSlots(num_slots=4, slot_dim=8).train(training)
    mask = torch.arange(9) < torch.tensor([[9], [6], [3]])
    padded = _features(mask=mask)
    with torch.set_grad_enabled(training):
        for i, count in enumerate((9, 6, 3)):
            alone = Features(padded.tokens[i : i + 1, :count], (1, count))
            for got, want in zip(init.distribution(padded), init.distribution(alone), strict=True):
                torch.testing.assert_close(got[i : i + 1], want, atol=1e-5, rtol=1e-5)
        unmasked = Features(padded.tokens, (3, 3))
        assert (init.distribution(unmasked)[0] - init.distribution(padded)[0])[2].abs().max() > 1e-3


def test_any_number_of_slots_shares_one_distribution() -> None:
    init = TransformerSlots(num_slots=4, slot_dim=8)
    assert init(_features()).mean.shape == (3, 4, 8)
    assert init(_features(), num_slots=7).mean.shape == (3, 7, 8)
    with pytest.raises(ValueError, match='at least one slot, got num_slots=0'):
        init(_features(), num_slots=0)


def test_widths() -> None:
    init = TransformerSlots(num_slots=4, slot_dim=6, in_channels=8)
    assert init(_features()).mean.shape == (3, 4, 6)
    with pytest.raises(
        ValueError, match=r'built for tokens of 8 channels, got 12; set in_channels'
    ):
        init(_features(channels=12))
    with pytest.raises(ValueError, match='num_heads must divide in_channels 6, got 4'):
        TransformerSlots(num_slots=4, slot_dim=6)


def test_layers_start_different() -> None:
    first, second = TransformerSlots(num_slots=4, slot_dim=8).transformer.layers
    for name, parameter in first.named_parameters():
        if parameter.ndim > 1:
            assert not torch.equal(parameter, second.get_parameter(name)), name


def test_every_parameter_learns_with_a_head_that_has_variances() -> None:
    head = MODELS.build(
        {
            'type': 'SlotMixture',
            'in_channels': 8,
            'gradient': 'bilevel',
            'initializer': {'type': 'TransformerSlots', 'num_slots': 4},
        }
    )
    assert isinstance(head, SlotMixture)
    features = _features()
    output = head(features)
    torch.testing.assert_close(output.init.log_weight.exp(), torch.full((3, 4), 0.25))
    output.slots.square().sum().backward()
    for name, parameter in head.initializer.named_parameters():
        assert parameter.grad.abs().sum() > 0, name
    # Both halves: the means and the log standard deviations of slots.
    for layer in (head.initializer.to_mean[-1], head.initializer.to_log_scale[-1]):
        assert (layer.weight.grad.abs().sum(dim=1) > 0).all()


def test_under_autocast_the_start_keeps_single_precision() -> None:
    init = TransformerSlots(num_slots=4, slot_dim=8)
    with torch.autocast('cpu', torch.bfloat16):
        state = init(_features())
    assert state.mean.dtype == state.log_var.dtype == torch.float32
    assert state.mean.isfinite().all()
