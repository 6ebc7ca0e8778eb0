"""What the slot heads of ``projects/as_released`` have to reproduce, case by case."""

from collections.abc import Callable
from typing import Any

import torch
from case import Case
from core import NAMES, GivenState, both, mlp_channels, tokens_of

from mmocl.apis import AggregatePosterior
from mmocl.models.layers import SoftPositionEmbedding
from mmocl.structures import Features, SlotInputs, SlotState
from projects.as_released.psa import ReleasedPSA
from projects.as_released.psa_slots import ReleasedPSASlots
from projects.as_released.smm import ReleasedSMM
from projects.as_released.smm_front_slots import ReleasedSMMFrontSlots

PSA_NAMES = {
    **{mine: theirs for mine, theirs in NAMES.items() if not mine.startswith('norm_tokens')},
    **{f'to_{name}.bias': f'to_{name[0]}.bias' for name in ('query', 'key', 'value')},
}
PSA_MODULE_NAMES = {
    'initializer.mean': 'slots_loc',
    'initializer.log_scale': 'slots_logscale',
    **both('embed.0', 'norm_joint'),
    **both('embed.1', 'token_mlp.0'),
    **both('embed.3', 'token_mlp.2'),
    **both('embed.5', 'norm_tokens'),
}
SMM_NAMES = {**NAMES, **both('to_output.0', 'mlp_out.0'), **both('to_output.2', 'mlp_out.2')}


def _psa(case: Case, names: dict[str, str], *args: Any, **kwargs: Any) -> ReleasedPSA:
    dynamic = 'w.to_q.weight' in case
    head = ReleasedPSA(
        *args,
        variant='dynamic' if dynamic else 'fixed',
        variance=case.hyper['variance'],
        **kwargs,
    )
    assert case.hyper['eps'] == head.EPS == ReleasedPSASlots.EPS
    case.load(head, names | PSA_NAMES if dynamic else names)
    return head


def psa_em(case: Case) -> None:
    """EM steps on tokens as they are."""
    features, slots = tokens_of(case, 'in.tokens'), case['in.slots_init']
    state = SlotState(slots, 2 * case['in.sigma_init'].log(), case['in.pi_init'][:, :, 0].log())
    head = _psa(case, {}, GivenState(state), slots.shape[2])
    case.compare('out.prior_variance', head.prior_variance(features.tokens, slots.shape[1]))
    for num_iters in case.hyper['iterations']:
        run = f't{num_iters}'
        output = head(features, num_iters=num_iters)
        case.compare(f'out.{run}.slots', output.slots)
        case.compare(f'out.{run}.sigma', (0.5 * output.state.log_var).exp())
        case.compare(f'out.{run}.pi', output.state.log_weight.exp()[:, :, None])
        case.compare(f'out.{run}.attn', output.attn + head.EPS)
        case.compare_gradients(run, output.slots.square().sum())


def psa_module(case: Case) -> None:
    """From feature maps to the decoder's input, and the aggregate posterior."""
    maps, noise = case['in.features'], case['in.noise']
    num_slots, slot_dim = noise.shape[1:]
    position, decoder_position = SoftPositionEmbedding(slot_dim), SoftPositionEmbedding(slot_dim)
    case.load(position, both('project', 'pos_embed'))
    case.load(decoder_position, both('project', 'dec_pos_embed'))
    tokens = position(maps).flatten(2).transpose(1, 2)
    head = _psa(
        case,
        PSA_MODULE_NAMES,
        ReleasedPSASlots(num_slots, slot_dim),
        slot_dim,
        num_iters=case.hyper['iterations'],
        num_tokens=tokens.shape[1],
    )
    features = Features(tokens, tuple(maps.shape[2:]))
    output = head(features, noise=noise)
    case.compare('out.tokens', head.embed(tokens))
    case.compare('out.slots_init', output.init.mean)
    case.compare('out.slots', output.slots)
    case.compare('out.attn', output.attn + head.EPS)
    side = case.hyper['broadcast_grid']
    canvas = output.slots.flatten(0, 1)[:, :, None, None].expand(-1, -1, side, side)
    case.compare('out.decoder_input', decoder_position(canvas))
    case.compare_gradients('', output.slots.square().sum())

    posterior = AggregatePosterior()
    posterior.add(head(features, num_iters=case.hyper['aggregate_iterations'], noise=noise))
    case.compare('out.agg.weights', posterior.weights)
    case.compare('out.agg.mean', posterior.mean)
    case.compare('out.agg.std', posterior.std)
    case.compare('out.agg.log_prob', posterior.log_prob(case['in.points']))


def smm_released(case: Case) -> None:
    """The mixture from given slots; every step, and the last on detached slots."""
    fair = case.name.endswith('fair')
    features = tokens_of(case, 'in.inputs')
    mean, log_std = case['in.slots_init'].chunk(2, dim=2)
    head = ReleasedSMM(
        GivenState(SlotState(mean, 2 * log_std)),
        features.tokens.shape[2],
        mean.shape[2],
        case.hyper['iterations'],
        mlp_channels=mlp_channels(case),
        fair=fair,
    )
    assert case.hyper['eps'] == head.EPS
    case.load(head, SMM_NAMES)
    # There FairGMM's weights sum to the number of tokens.
    total = features.tokens.shape[1] if fair else 1

    loop = head(features)
    runs = {'step1': head.step(loop.init, _inputs(head, features)), 'loop': (loop.state, loop.attn)}
    for run, (state, attn) in runs.items():
        slots = torch.cat([state.mean, 0.5 * state.log_var], dim=2)
        slots_out = head.to_slots(state)
        case.compare(f'out.{run}.slots', slots)
        case.compare(f'out.{run}.pi', total * state.log_weight.exp()[:, :, None])
        case.compare(f'out.{run}.attn', attn / attn.sum(dim=2, keepdim=True))
        case.compare(f'out.{run}.slots_out', slots_out)
        case.compare_gradients(run, slots.square().sum() + slots_out.square().sum())


def smm_released_full(case: Case) -> None:
    """The front transformer, which replaces the tokens, then the loop."""
    features, noise = tokens_of(case, 'in.inputs'), case['in.noise']
    hyper = case.hyper
    num_slots, slot_dim = noise.shape[1], noise.shape[2] // 2
    assert hyper['transformer_heads'] * hyper['head_dim'] == slot_dim
    head = ReleasedSMM(
        ReleasedSMMFrontSlots(num_slots, slot_dim, len(case['w.mu_init.0.weight'])),
        slot_dim,
        num_iters=hyper['iterations'],
        mlp_channels=mlp_channels(case),
        front={'num_blocks': hyper['transformer_depth'], 'num_heads': hyper['transformer_heads']},
    )
    assert hyper['eps'] == head.EPS
    case.load(head, SMM_NAMES | _front_names(hyper['transformer_depth']))
    # The stored values are those without dropout.
    output = head.eval()(features, noise=noise)
    case.compare('out.slots_out', output.slots)
    case.compare('out.attn', output.attn / output.attn.sum(dim=2, keepdim=True))
    case.compare('out.slots_init_out', head.to_slots(output.init))
    case.compare_gradients('', output.slots.square().sum())


def _inputs(head: ReleasedSMM, features: Features) -> SlotInputs:
    return SlotInputs(*head.project(features.tokens))


def _front_names(num_blocks: int) -> dict[str, str]:
    names = {'embed.1.mean': 'mu', 'embed.1.log_scale': 'logsigma'}
    names |= both('embed.1.norm', 'transf.norm')
    for mine, theirs in (('mean', 'mu'), ('log_scale', 'sigma')):
        for layer in (0, 2):
            names |= both(f'initializer.to_{mine}.{layer}', f'{theirs}_init.{layer}')
    for block in range(num_blocks):
        source = f'transf.transformer_blocks.{block}'
        layers = [f'embed.1.layers.{3 * block + i}' for i in range(3)]
        for i, layer in enumerate(layers, start=1):
            names |= both(f'{layer}.0', f'{source}.norm{i}')
        for i, layer in enumerate(layers[:2], start=1):
            for name in ('query', 'key', 'value'):
                names[f'{layer}.1.to_{name}.weight'] = f'{source}.attn{i}.to_{name[0]}.weight'
            names |= both(f'{layer}.1.to_output', f'{source}.attn{i}.to_out.0')
        names |= both(f'{layers[2]}.1', f'{source}.ff.net.0.0')
        names |= both(f'{layers[2]}.4', f'{source}.ff.net.2')
    return names


RELEASED: dict[str, Callable[[Case], None]] = {
    'psa_em_dynamic_map': psa_em,
    'psa_em_dynamic_mle': psa_em,
    'psa_em_fixed_map': psa_em,
    'psa_em_fixed_mle': psa_em,
    'psa_module_dynamic_map': psa_module,
    'psa_module_dynamic_mle': psa_module,
    'psa_module_fixed_map': psa_module,
    'psa_module_fixed_mle': psa_module,
    'smm_released': smm_released,
    'smm_released_fair': smm_released,
    'smm_released_full': smm_released_full,
}
