from dataclasses import replace

import pytest
import torch

from mmocl.models.initializers import GaussianSlots
from mmocl.models.slot_heads import ProbabilisticSlotAttention, SlotAttention, SlotMixture
from mmocl.structures import Features

MIXTURES = [ProbabilisticSlotAttention, SlotMixture]
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
        assert torch.equal(other.slots, outputs[0].slots)
        assert torch.equal(other.attn, outputs[0].attn)


@pytest.mark.parametrize('cls', HEADS)
def test_bilevel_gives_the_start_the_gradient_of_the_last_input(cls) -> None:
    """Same gradient as one step from a leaf that holds the value of the last but one state."""
    head = _head(cls, 'bilevel', 'LearnedSlots')
    head(FEATURES).slots.square().sum().backward()
    embedded = replace(FEATURES, tokens=head.embed(FEATURES.tokens))
    inputs = head.prepare(embedded, None, 4, head.num_iters)
    state = head.complete(head.initializer(FEATURES))
    with torch.no_grad():
        for _ in range(head.num_iters - 1):
            state, _ = head.step(state, inputs)
    mean = state.mean.clone().requires_grad_()
    state, _ = head.step(type(state)(mean, state.log_var, state.log_weight), inputs)
    head.to_slots(state).square().sum().backward()
    torch.testing.assert_close(head.initializer.queries.grad, mean.grad.sum(0, keepdim=True))


@pytest.mark.parametrize('cls', HEADS)
@pytest.mark.parametrize('gradient', ['unrolled', 'bilevel'])
def test_kept_steps_are_those_of_fewer_updates(cls, gradient) -> None:
    head = _head(cls, gradient)
    noise = torch.randn(2, 4, 16)
    output = head(FEATURES, noise=noise, keep_steps=True)
    assert head(FEATURES).steps is None
    assert len(output.steps) == head.num_iters - 1
    for number, step in enumerate(output.steps, start=1):
        alone = head(FEATURES, num_iters=number, noise=noise)
        torch.testing.assert_close(step.slots, alone.slots)
        torch.testing.assert_close(step.attn, alone.attn)
        assert step.state.mean.requires_grad == (gradient == 'unrolled')
    assert head(FEATURES, num_iters=0, keep_steps=True).steps == ()


@pytest.mark.parametrize('cls', HEADS)
def test_the_number_of_slots_is_asked_for_by_its_key(cls) -> None:
    with pytest.raises(ValueError, match=r'slot_head\.initializer\.num_slots is missing; Learned'):
        cls({'type': 'LearnedSlots'}, in_channels=12)


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
    with pytest.raises(ValueError, match='a whole number of at least 0, got -1'):
        head(FEATURES, num_iters=-1)
    with pytest.raises(ValueError, match="'unrolled', 'implicit' or 'bilevel', got 'none'"):
        _head(SlotAttention, 'none')
    with pytest.raises(ValueError, match='has 4 slots of its own, so it cannot give 5'):
        _head(SlotAttention, 'unrolled', 'LearnedSlots')(FEATURES, num_slots=5)


INITIALIZERS = [
    {'type': 'GaussianSlots'},
    {'type': 'GaussianSlots', 'shared': False},
    {'type': 'LearnedSlots'},
    {'type': 'BufferSlots'},
    {'type': 'TransformerSlots'},
    {'type': 'PooledSlots', 'pool_size': 2},
]


def _build(cls, initializer, **options):
    torch.manual_seed(0)
    return cls({'num_slots': 4, **initializer}, 12, 16, embed_channels=24, **options)


@pytest.mark.parametrize('cls', HEADS)
@pytest.mark.parametrize('initializer', INITIALIZERS, ids=str)
@pytest.mark.parametrize('gradient', ['unrolled', 'implicit', 'bilevel'])
@pytest.mark.parametrize('extra_step', [False, True])
def test_what_learns(cls, initializer, gradient, extra_step) -> None:
    head = _build(cls, initializer, gradient=gradient, extra_step=extra_step)
    head(FEATURES).slots.square().sum().backward()
    for name, parameter in head.named_parameters():
        learns = not (gradient == 'implicit' and name.startswith('initializer.'))
        assert parameter.requires_grad == learns, name
        assert (parameter.grad is not None) == learns, name
        assert not learns or parameter.grad.abs().sum() > 0, name


def _iterate_with_a_graph(self, init, inputs, num_updates, steps):
    """The loop of the papers: every iteration has a graph, which is then cut."""
    state = init
    for _ in range(num_updates - 1):
        state, _ = self.step(state, inputs)
    state = state.combine(torch.Tensor.detach)
    if self.gradient == 'bilevel':
        state = state.combine(lambda value, start: value + start - start.detach(), init)
    return self.step(state, inputs)


@pytest.mark.parametrize('cls', HEADS)
@pytest.mark.parametrize('initializer', INITIALIZERS, ids=str)
@pytest.mark.parametrize('gradient', ['implicit', 'bilevel'])
@pytest.mark.parametrize('extra_step', [False, True])
def test_iterations_without_a_graph_have_the_same_gradients(
    cls, initializer, gradient, extra_step, monkeypatch
) -> None:
    grads = []
    for iterate in (cls._iterate, _iterate_with_a_graph):
        monkeypatch.setattr(cls, '_iterate', iterate)
        head = _build(cls, initializer, gradient=gradient, extra_step=extra_step)
        tokens = FEATURES.tokens.clone().requires_grad_()
        torch.manual_seed(1)
        head(replace(FEATURES, tokens=tokens)).slots.square().sum().backward()
        grads.append([tokens.grad, *(p.grad for p in head.parameters() if p.requires_grad)])
    for got, want in zip(*grads, strict=True):
        torch.testing.assert_close(got, want)


@pytest.mark.parametrize('cls', HEADS)
def test_bad_input_is_refused(cls) -> None:
    head = _build(cls, {'type': 'GaussianSlots'})

    def refuses(message, features=FEATURES, **arguments) -> None:
        with pytest.raises(ValueError, match=message):
            head(features, **arguments)

    for count in (0, -2):
        refuses(f'at least one slot, got num_slots={count}', num_slots=count)
        with pytest.raises(ValueError, match=f'at least one slot, got num_slots={count}'):
            _build(cls, {'type': 'GaussianSlots', 'num_slots': count})
    refuses('num_iters must be a whole number of at least 0, got -1', num_iters=-1)
    with pytest.raises(ValueError, match='num_iters must be a whole number of at least 0, got -3'):
        _build(cls, {'type': 'GaussianSlots'}, num_iters=-3)
    refuses('tokens of 12 channels, got 13', Features(torch.randn(2, 36, 13), (6, 6)))
    for value in (float('nan'), float('inf'), -float('inf')):
        tokens = FEATURES.tokens.clone()
        tokens[1, 5, 3] = value
        refuses(r'NaN or infinite values.*\(1 of 864 are not', Features(tokens, (6, 6)))
    mask = torch.ones(2, 36, dtype=torch.bool)
    mask[1] = False
    refuses('features.mask leaves an image with nothing', replace(FEATURES, mask=mask))
    refuses('slot_mask leaves an image with nothing', slot_mask=mask[:, :4])
    for shape in ((1, 4), (2, 1), (2, 5), (4,)):
        refuses('slot_mask must be a bool tensor of shape', slot_mask=torch.ones(shape).bool())
    for shape in ((3, 4, 16), (2, 3, 16), (2, 4, 1)):
        refuses(r'noise must have shape \(2, 4, 16\)', noise=torch.zeros(shape))
    with pytest.raises(ValueError, match='gives slots of 8 channels, but slot_dim is 16'):
        cls(GaussianSlots(4, 8), 12, 16)
    other = {'type': 'MLPDecoder', 'out_channels': 3, 'grid': (2, 2)}
    with pytest.raises(ValueError, match='initializer must be a SlotInitializer, got MLPDecoder'):
        cls(other, 12, 16)


@pytest.mark.parametrize('cls', MIXTURES)
@pytest.mark.parametrize(
    ('option', 'value'),
    [('min_var', -1.0), ('min_var', float('nan')), ('logit_scale', 0.0)],
)
def test_numbers_out_of_range_are_refused(cls, option, value) -> None:
    with pytest.raises(ValueError, match=f'{option} must be .*, got {value}'):
        _build(cls, {'type': 'GaussianSlots'}, **{option: value})


@pytest.mark.parametrize('cls', MIXTURES)
@pytest.mark.parametrize('threshold', [-0.1, 1.0, 1.5])
def test_pruning_thresholds_out_of_range_are_refused(cls, threshold) -> None:
    with pytest.raises(ValueError, match=rf'must be in \[0, 1\), got {threshold}'):
        _build(cls, {'type': 'GaussianSlots'}, prune_threshold=threshold)


@pytest.mark.parametrize('cls', HEADS)
@pytest.mark.parametrize('gradient', ['unrolled', 'implicit', 'bilevel'])
def test_backward_runs_under_autocast(cls, gradient) -> None:
    """Loops of one's own often have the backward pass inside of it; MMEngine's do not."""
    head = _build(cls, {'type': 'LearnedSlots'}, gradient=gradient)
    with torch.autocast('cpu', torch.bfloat16):
        head(FEATURES).slots.square().sum().backward()
    assert head.to_key.weight.grad.isfinite().all()


@pytest.mark.parametrize('cls', HEADS)
@pytest.mark.parametrize('gradient', ['unrolled', 'implicit', 'bilevel'])
def test_no_iteration_returns_the_start_with_an_extra_step_too(cls, gradient) -> None:
    head = _build(cls, {'type': 'LearnedSlots'}, gradient=gradient, extra_step=True)
    output = head(FEATURES, num_iters=0)
    assert torch.equal(output.state.mean, output.init.mean)
    assert not torch.equal(head(FEATURES, num_iters=1).slots, head(FEATURES, num_iters=2).slots)
