import pytest
import torch

from mmocl.models.slot_heads import ProbabilisticSlotAttention, SlotAttention, SlotMixture
from mmocl.structures import Features, SlotInputs

HEADS = [SlotAttention, ProbabilisticSlotAttention, SlotMixture]
FEATURES = Features(torch.randn(2, 36, 12, generator=torch.Generator().manual_seed(1)), (6, 6))


def _head(cls, gradient, initializer='GaussianSlots'):
    torch.manual_seed(0)
    return cls(
        {'type': initializer, 'num_slots': 4},
        in_channels=12,
        slot_dim=16,
        gradient=gradient,
        embed_channels=24,
    )


@pytest.mark.parametrize('cls', HEADS)
def test_gradient_modes_have_equal_forward_values(cls) -> None:
    noise = torch.randn(2, 4, 16)
    outputs = [
        _head(cls, mode)(FEATURES, noise=noise) for mode in ('unrolled', 'implicit', 'bilevel')
    ]
    for other in outputs[1:]:
        torch.testing.assert_close(other.slots, outputs[0].slots)


@pytest.mark.parametrize('cls', HEADS)
@pytest.mark.parametrize('initializer', ['GaussianSlots', 'LearnedSlots'])
@pytest.mark.parametrize('gradient', ['unrolled', 'implicit', 'bilevel'])
def test_initializer_learns_unless_implicit(cls, initializer, gradient) -> None:
    head = _head(cls, gradient, initializer)
    head(FEATURES).slots.square().sum().backward()
    for name, parameter in head.named_parameters():
        learns = not (gradient == 'implicit' and name.startswith('initializer'))
        assert parameter.requires_grad == learns, name
        assert (parameter.grad is not None) == learns, name


@pytest.mark.parametrize('cls', HEADS)
def test_bilevel_gives_the_start_the_gradient_of_the_last_input(cls) -> None:
    """Same gradient as one step from a leaf that holds the value of the last but one state."""
    head = _head(cls, 'bilevel', 'LearnedSlots')
    head(FEATURES).slots.square().sum().backward()
    inputs = SlotInputs(*head.project(head.embed(FEATURES.tokens)))
    state = head.complete(head.initializer(FEATURES))
    with torch.no_grad():
        for _ in range(head.num_iters - 1):
            state, _ = head.step(state, inputs)
    mean = state.mean.clone().requires_grad_()
    state, _ = head.step(type(state)(mean, state.log_var, state.log_weight), inputs)
    head.to_slots(state).square().sum().backward()
    torch.testing.assert_close(head.initializer.queries.grad, mean.grad.sum(0, keepdim=True))


@pytest.mark.parametrize('cls', HEADS)
def test_counts_can_be_overridden(cls) -> None:
    head = _head(cls, 'unrolled')
    assert head(FEATURES, num_slots=7).slots.shape == (2, 7, 16)
    noise = torch.randn(2, 4, 16)
    one = head(FEATURES, num_iters=1, noise=noise).slots
    assert not torch.allclose(one, head(FEATURES, noise=noise).slots)


def test_bad_arguments_say_what_is_expected() -> None:
    head = _head(SlotAttention, 'unrolled')
    with pytest.raises(ValueError, match='40 slots cannot share 36 tokens'):
        head(FEATURES, num_slots=40)
    with pytest.raises(ValueError, match='must not be negative, got -1'):
        head(FEATURES, num_iters=-1)
    with pytest.raises(ValueError, match="'unrolled', 'implicit' or 'bilevel', got 'none'"):
        _head(SlotAttention, 'none')
    with pytest.raises(ValueError, match='has 4 slots of its own, so it cannot give 5'):
        _head(SlotAttention, 'unrolled', 'LearnedSlots')(FEATURES, num_slots=5)
