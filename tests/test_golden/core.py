"""What the slot heads of mmocl have to reproduce, case by case.

All sizes and constants come from the case; only what its semantics say in words is written here.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any
from unittest import mock

import torch
from case import Case
from torch import Tensor

from mmocl.models.initializers import LearnedSlots, SlotInitializer
from mmocl.models.layers import SoftPositionEmbedding
from mmocl.models.slot_heads import ProbabilisticSlotAttention, SlotAttention, SlotMixture, mixture
from mmocl.models.slot_heads import slot_mixture as smm
from mmocl.structures import Features, SlotState

GRADIENTS = {'none': 'unrolled', 'fixed_point': 'implicit', 'bi_level': 'bilevel'}


def both(mine: str, theirs: str) -> dict[str, str]:
    """Names of the weight and bias of a layer."""
    return {f'{mine}.{n}': f'{theirs}.{n}' for n in ('weight', 'bias')}


NAMES = {
    **both('norm_tokens', 'norm_input'),
    **both('norm_slots', 'norm_slots'),
    'to_query.weight': 'to_q.weight',
    'to_key.weight': 'to_k.weight',
    'to_value.weight': 'to_v.weight',
    **{f'update.gru.{n}_{k}': f'gru.{n}_{k}' for n in ('weight', 'bias') for k in ('ih', 'hh')},
    **both('update.norm', 'mlp.norm'),
    **both('update.mlp.0', 'mlp.0'),
    **both('update.mlp.2', 'mlp.2'),
}


class GivenState(SlotInitializer):
    """An initializer that returns what it was given."""

    def __init__(self, state: SlotState) -> None:
        super().__init__(*state.mean.shape[1:])
        self.state = state

    def forward(
        self, features: Features, num_slots: int | None = None, noise: Tensor | None = None
    ) -> SlotState:
        return self.state


def learned_slots(queries: Tensor, **kwargs: Any) -> LearnedSlots:
    """The initializer of BO-QSA with given (K, D) queries, which stay the leaf of its gradient."""
    initializer = LearnedSlots(*queries.shape, **kwargs)
    del initializer.queries
    initializer.queries = queries[None]
    return initializer


def tokens_of(case: Case, key: str) -> Features:
    """Tokens of an unknown grid, which the heads do not look at."""
    tokens = case[key]
    return Features(tokens, (1, tokens.shape[1]))


def mlp_channels(case: Case) -> int:
    return len(case['w.mlp.0.weight'])


@contextmanager
def recorded(module: ModuleType, name: str) -> Iterator[list[tuple[tuple, Any]]]:
    """Arguments and result of every call of a function, for what a head computes but keeps."""
    calls: list[tuple[tuple, Any]] = []
    function = getattr(module, name)

    def call(*args: Any, **kwargs: Any) -> Any:
        calls.append((args, function(*args, **kwargs)))
        return calls[-1][1]

    with mock.patch.object(module, name, call):
        yield calls


def _slot_attention(case: Case, names: dict[str, str] = NAMES, **kwargs: Any) -> SlotAttention:
    slots = case['in.slots_init']
    head = SlotAttention(
        GivenState(SlotState(slots)),
        case['in.inputs'].shape[2],
        slots.shape[2],
        mlp_channels=mlp_channels(case),
        eps=case.hyper['eps'],
        **kwargs,
    )
    case.load(head, names)
    return head


def slot_attention_oclf(case: Case) -> None:
    """Slot Attention of DINOSAUR, with heads, slot masks and one detached step more."""
    num_heads, implicit = case.hyper['num_heads'], case.hyper['implicit']
    head = _slot_attention(
        case,
        num_heads=num_heads,
        gradient='implicit' if implicit else 'unrolled',
        extra_step=implicit,
    )
    # There True is a slot that takes no part.
    slot_mask = ~case['in.slot_mask'] if case.hyper['slot_mask'] else None
    for num_iters in case.hyper['iterations']:
        run = f't{num_iters}'
        output = head(tokens_of(case, 'in.inputs'), num_iters=num_iters, slot_mask=slot_mask)
        case.compare(f'out.{run}.slots', output.slots)
        # There the mean over heads, here the sum.
        case.compare(f'out.{run}.attn', output.attn / num_heads)
        case.compare_gradients(run, output.slots.square().sum())


def slot_attention_plain_bias(case: Case) -> None:
    """Slot Attention whose projections have biases."""
    biases = {
        'to_query.bias': 'to_q.bias',
        'to_key.bias': 'to_k.bias',
        'to_value.bias': 'to_v.bias',
    }
    qkv_bias = case.hyper['qkv_bias']
    head = _slot_attention(case, NAMES | biases if qkv_bias else NAMES, qkv_bias=qkv_bias)
    for num_iters in case.hyper['iterations']:
        run = f't{num_iters}'
        output = head(tokens_of(case, 'in.inputs'), num_iters=num_iters)
        weights = output.attn + head.eps
        case.compare(f'out.{run}.slots', output.slots)
        case.compare(f'out.{run}.attn_weights', weights / weights.sum(dim=2, keepdim=True))
        case.compare_gradients(run, output.slots.square().sum())


def slot_attention_slate_heads(case: Case) -> None:
    """Slot Attention of SLATE, several heads."""
    head = _slot_attention(case, num_heads=case.hyper['num_heads'])
    output = head(tokens_of(case, 'in.inputs'), num_iters=case.hyper['iterations'])
    case.compare('out.slots', output.slots)
    case.compare('out.attn', output.attn.transpose(1, 2))
    case.compare_gradients('', output.slots.square().sum())


def _boqsa(case: Case, initializer: LearnedSlots, in_channels: int, **kwargs: Any) -> SlotAttention:
    return SlotAttention(
        initializer,
        in_channels,
        initializer.slot_dim,
        case.hyper['iterations'],
        mlp_channels=mlp_channels(case),
        eps=case.hyper['eps'],
        eps_mode='sum',
        **kwargs,
    )


def boqsa_slot_attention(case: Case) -> None:
    """The three gradients of BO-QSA's slot attention."""
    features = tokens_of(case, 'in.inputs')
    runs = {key.split('.')[1] for key in case.keys('out.')}
    for run in sorted(runs):
        initializer = learned_slots(case['in.queries'])
        head = _boqsa(case, initializer, features.tokens.shape[2], gradient=GRADIENTS[run])
        case.load(head, NAMES)
        output = head(features)
        case['slots_init'] = output.init.mean
        case.compare(f'out.{run}.slots', output.slots)
        case.compare(f'out.{run}.attn', output.attn)
        case.compare_gradients(run, output.slots.square().sum())


def boqsa_slot_encoder(case: Case) -> None:
    """Positions, the embedding of the tokens and noisy queries in front of BO-QSA's attention."""
    maps = case['in.features']
    position = SoftPositionEmbedding(maps.shape[1])
    case.load(position, both('project', 'pos_embed'))
    initializer = learned_slots(case['w.queries'], noise_mode='multiplicative')
    head = _boqsa(
        case,
        initializer,
        maps.shape[1],
        embed_channels=len(case['w.feature_mlp.0.weight']),
        gradient=GRADIENTS[case.hyper['truncate'].replace('-', '_')],
    )
    embed = {0: 'norm', 1: '0', 3: '2'}
    names = [both(f'embed.{mine}', f'feature_mlp.{theirs}') for mine, theirs in embed.items()]
    case.load(head, {**NAMES, **names[0], **names[1], **names[2]})
    for run, sigma in case.hyper['sigma'].items():
        initializer.sigma = sigma
        tokens = position(maps).flatten(2).transpose(1, 2)
        output = head(Features(tokens, tuple(maps.shape[2:])), noise=case['in.noise'])
        case.compare(f'out.{run}.slots_init', output.init.mean)
        case.compare(f'out.{run}.slots', output.slots)
        case.compare(f'out.{run}.attn', output.attn)
        case.compare_gradients(run, output.slots.square().sum())


def em_diagonal_gmm_textbook(case: Case) -> None:
    """Probabilistic slot attention without projections and norms is textbook EM."""
    assert case.hyper['reg_covar'] == 0, 'the head has a floor relative to the data only'
    means = case['in.means_init']
    state = SlotState(means, 2 * case['in.std_init'].log(), case['in.weights_init'].log())
    head = ProbabilisticSlotAttention(
        GivenState(state),
        means.shape[2],
        projections='none',
        normalize=False,
        variance_space='value',
        logit_scale=1.0,
        min_var=0.0,
    )
    for num_iters in case.hyper['iterations']:
        run = f't{num_iters}'
        with recorded(mixture, 'compete') as calls:
            output = head(tokens_of(case, 'in.points'), num_iters=num_iters)
            head.initializer = GivenState(output.state)
            final = head(tokens_of(case, 'in.points'), num_iters=0)
            head.initializer = GivenState(state)
        # The logits have the type of the head's sums.
        log_likelihood = [logits.logsumexp(dim=1).mean(dim=1) for (logits, _), _ in calls]
        log_likelihood = torch.stack(log_likelihood, dim=1).to(case.dtype)
        case.compare(f'out.{run}.means', output.slots)
        case.compare(f'out.{run}.variances', output.state.log_var.exp())
        case.compare(f'out.{run}.weights', output.state.log_weight.exp())
        case.compare(f'out.{run}.responsibilities_last_e_step', output.attn)
        case.compare(f'out.{run}.responsibilities', final.attn)
        case.compare(f'out.{run}.log_likelihood', log_likelihood)


def smm_paper(case: Case) -> None:
    """Slot Mixture Module with a Gaussian's density and weights that move."""
    mean, log_std = case['in.slots_init'].chunk(2, dim=2)
    features = tokens_of(case, 'in.inputs')
    head = SlotMixture(
        GivenState(SlotState(mean, 2 * log_std)),
        features.tokens.shape[2],
        mean.shape[2],
        mlp_channels=mlp_channels(case),
        min_var=0.0,
    )
    assert case.hyper['eps'] == head.EPS
    case.load(
        head, {**NAMES, **both('to_output.0', 'mlp_out.0'), **both('to_output.2', 'mlp_out.2')}
    )
    num_iters = case.hyper['iterations'] + case.hyper['extra_detached_step']
    for run, num in {'step1': 1, 'loop': num_iters}.items():
        with (
            recorded(mixture, 'diagonal_log_density') as density,
            recorded(smm, 'share') as shares,
        ):
            output = head(features, num_iters=num)
        state = output.state
        log_std = 0.5 * state.log_var
        case.compare(f'out.{run}.slots', torch.cat([state.mean, log_std], dim=2))
        case.compare(f'out.{run}.pi', state.log_weight.exp()[:, :, None])
        case.compare(f'out.{run}.log_density', density[-1][1].to(case.dtype))
        case.compare(f'out.{run}.responsibilities', output.attn)
        # From logs; a sum of responsibilities may vanish.
        case.compare(f'out.{run}.attn', shares[-1][1][0])
        case.compare(f'out.{run}.slots_out', output.slots)


CORE: dict[str, Callable[[Case], None]] = {
    'slot_attention_oclf': slot_attention_oclf,
    'slot_attention_oclf_heads2': slot_attention_oclf,
    'slot_attention_oclf_implicit': slot_attention_oclf,
    'slot_attention_oclf_masked': slot_attention_oclf,
    'slot_attention_plain_bias': slot_attention_plain_bias,
    'slot_attention_slate_heads': slot_attention_slate_heads,
    'boqsa_slot_attention': boqsa_slot_attention,
    'boqsa_slot_encoder': boqsa_slot_encoder,
    'em_diagonal_gmm_textbook': em_diagonal_gmm_textbook,
    'smm_paper': smm_paper,
}
