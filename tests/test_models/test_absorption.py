"""Linear maps of keys and values that are applied to the slots give the same numbers."""

from itertools import product

import pytest
import torch
from torch import nn

from benchmarks.peak_memory import track
from benchmarks.products import count_flop
from mmocl.models.layers import token_variance, variance_floor
from mmocl.models.slot_heads import (
    ProbabilisticSlotAttention,
    SlotAttention,
    SlotMixture,
    mixture,
    probabilistic_slot_attention,
    slot_attention,
)
from mmocl.models.slot_heads.absorption import absorbing_saves
from mmocl.models.slot_heads.mixture import as_mixture_inputs
from mmocl.structures import Features

BOUNDS = {torch.float32: 1e-5, torch.float64: 1e-12}


def _slot_attention(**options) -> SlotAttention:
    head = SlotAttention(
        {'type': 'LearnedSlots', 'num_slots': 3}, 6, 8, embed_channels=16, **options
    )
    for parameter in head.parameters():
        # Biases start at 0 and scales at 1, where a forgotten one would not show.
        nn.init.normal_(parameter, std=0.3)
    return head


def _direct(head: SlotAttention, features: Features, slot_mask) -> tuple:
    """Algorithm 1 of the paper with keys and values of all tokens, head by head."""
    tokens = head.norm_tokens(head.embed(features.tokens))
    slots = head.initializer.queries.expand(len(tokens), -1, -1)
    width = head.slot_dim // head.num_heads
    for _ in range(head.num_iters):
        queries = head.to_query(head.norm_slots(slots)).split(width, dim=2)
        keys, values = (m(tokens).split(width, dim=2) for m in (head.to_key, head.to_value))
        logits = [width**-0.5 * q @ k.mT for q, k in zip(queries, keys, strict=True)]
        logits = torch.stack(logits, dim=1)
        logits[~slot_mask[:, None].expand(logits.shape[:3])] = -torch.inf
        attn = logits.exp() / logits.exp().sum((1, 2), keepdim=True)
        attn = attn * features.mask[:, None, None]
        if head.eps_mode == 'attn':
            weights = (attn + head.eps) * features.mask[:, None, None]
            weights = weights / weights.sum(3, keepdim=True)
        else:
            weights = attn / (attn.sum(3, keepdim=True) + head.eps)
        updates = [w @ v for w, v in zip(weights.unbind(1), values, strict=True)]
        slots = head.update(torch.cat(updates, dim=2), slots)
    return slots, attn.sum(1)


def _results(head: nn.Module, run, tokens: torch.Tensor) -> list[torch.Tensor]:
    """Values, and gradients of the tokens and of every parameter."""
    tokens = tokens.clone().requires_grad_()
    slots, attn = run(tokens)
    rng = torch.Generator().manual_seed(3)
    loss = sum((torch.randn(x.shape, generator=rng).to(x) * x).sum() for x in (slots, attn))
    return [slots, attn, *torch.autograd.grad(loss, [tokens, *head.parameters()])]


@pytest.mark.parametrize(
    ('num_heads', 'eps_mode', 'qkv_bias', 'width'),
    list(product((1, 4), ('attn', 'sum'), (False, True), (8, 10))),
)
@pytest.mark.parametrize('dtype', BOUNDS)
def test_slot_attention_is_that_of_projected_tokens(
    num_heads, eps_mode, qkv_bias, width, dtype, monkeypatch
) -> None:
    head = _slot_attention(
        num_heads=num_heads,
        eps_mode=eps_mode,
        eps=1.0 if eps_mode == 'sum' else 1e-8,
        qkv_bias=qkv_bias,
        embed_out_channels=width,
    ).to(dtype)
    tokens = torch.randn(2, 24, 6, dtype=dtype)
    mask, slot_mask = torch.ones(2, 24, dtype=torch.bool), torch.ones(2, 3, dtype=torch.bool)
    mask[0, 15:] = slot_mask[1, 2] = False
    embedded = Features(torch.randn(2, 24, width, dtype=dtype), (4, 6), mask)
    want = _results(
        head,
        lambda x: _direct(head, Features(x * mask[:, :, None], (4, 6), mask), slot_mask),
        tokens,
    )

    def run(x):
        output = head(Features(x, (4, 6), mask), slot_mask=slot_mask)
        return output.slots, output.attn

    for absorbs in (False, True):
        monkeypatch.setattr(slot_attention, 'absorbing_saves', lambda *_, a=absorbs: a)
        assert head.prepare(embedded, None, 3, 3).absorbed == absorbs
        got = _results(head, run, tokens)
        for ours, theirs in zip(got, want, strict=True):
            bound = BOUNDS[dtype] * max(1.0, theirs.abs().max().item())
            assert (ours - theirs).abs().max() <= bound


@pytest.mark.parametrize('update', ['em', 'gru_mlp'])
@pytest.mark.parametrize('variance', ['mle', 'map'])
@pytest.mark.parametrize('dtype', BOUNDS)
def test_means_of_psa_are_those_of_projected_tokens(update, variance, dtype, monkeypatch) -> None:
    head = ProbabilisticSlotAttention(
        {'type': 'LearnedSlots', 'num_slots': 3}, 6, 8, update=update, variance=variance
    ).to(dtype)
    tokens = torch.randn(2, 24, 6, dtype=dtype)
    mask = torch.ones(2, 24, dtype=torch.bool)
    mask[0, 15:] = False

    def run(x):
        output = head(Features(x, (4, 6), mask))
        return output.slots, output.attn

    results = []
    for absorbs in (False, True):
        monkeypatch.setattr(
            probabilistic_slot_attention, 'absorbing_saves', lambda *_, a=absorbs: a
        )
        inputs = head.prepare(Features(tokens, (4, 6), mask), None, 3, 3)
        assert inputs.absorbed == absorbs
        results.append(_results(head, run, tokens))
    for got, want in zip(*results, strict=True):
        bound = BOUNDS[dtype] * max(1.0, want.abs().max().item())
        assert (got - want).abs().max() <= bound


@pytest.mark.parametrize(
    'options', [{'variance_space': 'value'}, {'projections': 'q'}, {'projections': 'none'}]
)
def test_psa_keeps_values_that_it_needs(options) -> None:
    head = ProbabilisticSlotAttention({'type': 'LearnedSlots', 'num_slots': 2}, 8, **options)
    assert not head.prepare(Features(torch.randn(1, 64, 8), (8, 8)), None, 2, 3).absorbed


@pytest.mark.parametrize('cls', [SlotMixture, ProbabilisticSlotAttention])
@pytest.mark.parametrize('gradient', ['unrolled', 'bilevel', 'implicit'])
def test_the_spread_of_the_tokens_is_taken_once(cls, gradient, monkeypatch) -> None:
    options = {'variance': 'map'} if cls is ProbabilisticSlotAttention else {}
    head = cls({'type': 'LearnedSlots', 'num_slots': 2}, 8, gradient=gradient, **options)
    calls = []
    for function in (variance_floor, token_variance):

        def count(*args, function=function):
            calls.append(function)
            return function(*args)

        monkeypatch.setattr(mixture, function.__name__, count)
    head(Features(torch.randn(1, 64, 8), (8, 8)))
    assert calls.count(variance_floor) == 1
    assert calls.count(token_variance) == len(options)


@pytest.mark.parametrize('cls', [SlotMixture, ProbabilisticSlotAttention])
@pytest.mark.parametrize('gradient', ['unrolled', 'bilevel', 'implicit'])
def test_one_spread_for_all_updates_changes_nothing(cls, gradient, monkeypatch) -> None:
    options = {'variance': 'map'} if cls is ProbabilisticSlotAttention else {}
    head = cls(
        {'type': 'LearnedSlots', 'num_slots': 2}, 8, gradient=gradient, min_var=0.3, **options
    ).double()
    tokens = torch.randn(2, 64, 8, dtype=torch.float64)
    step = cls.step

    def anew(self, state, inputs):
        return step(self, state, as_mixture_inputs(inputs, 0.3, 'key', bool(options)))

    results = []
    for method in (step, anew):
        monkeypatch.setattr(cls, 'step', method)
        leaf = tokens.clone().requires_grad_()
        slots = head(Features(leaf, (8, 8))).slots
        leaves = [leaf, head.to_query.weight, head.to_key.weight, head.norm_tokens.weight]
        results.append([slots, *torch.autograd.grad(slots.square().sum(), leaves)])
    for got, want in zip(*results, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize('num_heads', [1, 4])
@pytest.mark.parametrize('num_iters', [0, 1, 3])
@pytest.mark.parametrize('num_tokens', [4, 16, 64, 256])
@pytest.mark.parametrize('gradient', ['unrolled', 'implicit', 'bilevel', 'none'])
def test_the_form_with_fewer_operations_is_taken(
    num_tokens, num_iters, num_heads, gradient, monkeypatch
) -> None:
    """Operations of both passes as PyTorch counts them, not as we do."""
    learns = gradient != 'none'
    head = SlotAttention(
        {'type': 'LearnedSlots', 'num_slots': 4},
        32,
        num_iters=num_iters,
        num_heads=num_heads,
        gradient=gradient if learns else 'unrolled',
    )
    tokens = torch.randn(2, num_tokens, 32, requires_grad=True)

    def operations() -> int:
        def call() -> None:
            with torch.set_grad_enabled(learns):
                output = head(Features(tokens * 1, (1, num_tokens)))
            if learns:
                (output.slots.sum() + output.attn.square().sum()).backward()

        return count_flop(call)

    taken = operations()
    counts = []
    for absorbs in (False, True):
        monkeypatch.setattr(slot_attention, 'absorbing_saves', lambda *_, a=absorbs: a)
        counts.append(operations())
    # The last update's backward pass has no part in the first slots, which is not counted.
    assert taken <= 1.03 * min(counts)


def test_both_forms_are_taken() -> None:
    """With one head and equal widths they meet where there are as many tokens as slots x steps."""
    assert not absorbing_saves(21, 7, 1, 64, 64, 3, 'unrolled')
    assert absorbing_saves(22, 7, 1, 64, 64, 3, 'unrolled')
    assert not absorbing_saves(256, 7, 16, 256, 256, 10, 'unrolled')
    # The map of the tokens is differentiated wholly, of the updates one.
    assert absorbing_saves(256, 7, 4, 64, 64, 3, 'bilevel')
    assert not absorbing_saves(256, 7, 4, 64, 64, 3, 'unrolled')


def test_a_subclass_keeps_its_own_projections_and_steps() -> None:
    class Shifted(SlotAttention):
        def project(self, tokens):
            keys, values = super().project(tokens)
            return keys, values + 100

    class Watching(SlotAttention):
        def step(self, state, inputs):
            assert not inputs.absorbed
            return super().step(state, inputs)

    class Adapted(nn.Linear):
        """As adapters of trained layers are."""

    features = Features(torch.randn(1, 64, 8), (8, 8))
    settings = {'type': 'LearnedSlots', 'num_slots': 2}
    assert SlotAttention(settings, 8).prepare(features, None, 2, 3).absorbed
    inputs = Shifted(settings, 8).prepare(features, None, 2, 3)
    assert not inputs.absorbed
    assert inputs.values.mean() > 90
    Watching(settings, 8)(features)
    for name, cls in product(('to_key', 'to_value'), (SlotAttention, ProbabilisticSlotAttention)):
        head = cls(settings, 8)
        setattr(head, name, Adapted(8, 8))
        keys_stay = cls is ProbabilisticSlotAttention and name == 'to_key'
        assert head.prepare(features, None, 2, 3).absorbed == keys_stay
    calls = []
    head = SlotAttention(settings, 8)
    head.to_key.register_forward_hook(lambda *_: calls.append(1))
    head(features)
    assert calls == [1]


def test_tokens_are_kept_once_for_all_updates() -> None:
    """Of (B, N, C) the graph keeps the tokens, and those that are layer-normed, in any case."""
    width, tokens = 32, torch.randn(2, 256, 32, requires_grad=True)
    for num_heads, num_iters in product((1, 4), (1, 4)):
        head = SlotAttention(
            {'type': 'LearnedSlots', 'num_slots': 2},
            width,
            num_iters=num_iters,
            num_heads=num_heads,
        )
        kept = {}

        def keep(x, kept=kept):
            if x.numel() >= tokens.numel():
                kept[x.untyped_storage().data_ptr()] = x
            return x

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
            slots = head(Features(tokens, (16, 16))).slots
        assert len(kept) == 2
        assert track(lambda s=slots: s.sum().backward()).largest == tokens.numel()


def test_autocast_keeps_one_copy_of_the_tokens() -> None:
    head = SlotAttention({'type': 'LearnedSlots', 'num_slots': 2}, 32)
    tokens = torch.randn(2, 256, 32, requires_grad=True)
    kept = {}

    def keep(x):
        if x.numel() >= tokens.numel():
            kept[x.untyped_storage().data_ptr()] = x.dtype
        return x

    hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x)
    with hooks, torch.autocast('cpu', torch.bfloat16):
        head(Features(tokens, (16, 16)))
    assert list(kept.values()).count(torch.bfloat16) == 1
