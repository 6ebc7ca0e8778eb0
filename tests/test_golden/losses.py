"""What the losses on slots have to reproduce, case by case."""

from collections.abc import Callable

import torch
from case import Case
from torch import Tensor

from mmocl.models.losses import CosineSlotLoss, CovarianceLoss
from mmocl.models.losses.cosine import pairwise_cosine
from mmocl.models.losses.covariance import covariance, off_diagonal_energy, standard_deviation
from mmocl.structures import Decoded, Features, ModelOutput, SlotOutput, SlotState, Target

DIVISORS = {'D': 'linear', 'D^2': 'square', 'P': 'linear', 'P^2': 'square'}
NORMS = {'layernorm': 'layer', 'batchnorm': 'batch'}


def output_of(slots: Tensor) -> ModelOutput:
    """An output of which a loss can look at the slots only."""
    state = SlotState(slots)
    tokens = slots.new_zeros(len(slots), 1, 1)
    head = SlotOutput(slots, slots.new_zeros(*slots.shape[:2], 1), state, state)
    return ModelOutput(Features(tokens, (1, 1)), head, Target(tokens), Decoded(tokens))


def loss_cosine(case: Case) -> None:
    """Cosines of all pairs, without the weight."""
    slots = case['in.slots']
    loss = CosineSlotLoss(weight=1.0, margin=case.hyper['margin'])(output_of(slots))
    case.compare('out.cosine', pairwise_cosine(slots))
    case.compare('out.loss', loss)
    case.compare_gradients('', loss)


def terms(loss: CovarianceLoss, slots: Tensor) -> dict[str, Tensor]:
    """The two terms of the loss, each with the weight of the other at zero."""
    values = {}
    for name, weights in {'cov_loss': (1.0, 0.0), 'std_loss': (0.0, 1.0)}.items():
        loss.cov_weight, loss.std_weight = weights
        values[name] = loss(output_of(slots))
    return values


def loss_covariance_identity(case: Case) -> None:
    """The terms of the slots as they are; and of slots over features, from the same functions."""
    assert case.hyper['eps'] == CovarianceLoss.EPS
    slots = case['in.slots']
    for run, hyper in case.hyper['runs'].items():
        if run == 'over_slots':
            cov = covariance(slots.mT)
            std = standard_deviation(cov, CovarianceLoss.EPS)
            values = {
                'cov_loss': off_diagonal_energy(cov).mean() / slots.shape[2],
                'std_loss': torch.relu(hyper['gamma'] - std).mean(),
            }
        else:
            cov = covariance(slots.flatten(0, 1))
            std = standard_deviation(cov, CovarianceLoss.EPS)
            loss = CovarianceLoss(
                slots.shape[2],
                gamma=hyper['gamma'],
                head_channels=None,
                divisor=DIVISORS[hyper['divisor']],
            )
            values = terms(loss, slots)
            case.compare(f'out.{run}.cov_matrix', cov)
        case.compare(f'out.{run}.std_vector', std)
        for name, value in values.items():
            case.compare(f'out.{run}.{name}', value)
            case.compare_gradients(f'{run}.{name}', value)


def loss_covariance_head(case: Case) -> None:
    """The terms of a projection, with either norm."""
    assert case.hyper['eps'] == CovarianceLoss.EPS
    slots = case['in.slots']
    for run, norm in NORMS.items():
        loss = CovarianceLoss(
            slots.shape[2],
            gamma=case.hyper['gamma'],
            head_channels=case.hyper['proj_dim'],
            head_norm=norm,
            num_slots=slots.shape[1],
            divisor=DIVISORS[case.hyper['divisor']],
        ).to(case.dtype)
        parameters = {f'w.head.{name}': p for name, p in loss.head.named_parameters()}
        assert parameters.keys() == set(case.keys('w.'))
        for key, parameter in parameters.items():
            # There one set of weights: of its norms batch norm takes the first, one a slot.
            value = torch.from_numpy(case.arrays[key])[: len(parameter)]
            parameter.data.copy_(value.to(case.dtype))
            case[key] = parameter
        case.compare(f'out.{run}.projection', loss.head(slots))
        values = terms(loss, slots)
        for name, value in values.items():
            case.compare(f'out.{run}.{name}', value)
        case.compare_gradients(run, values['cov_loss'] + values['std_loss'])


LOSSES: dict[str, Callable[[Case], None]] = {
    'loss_cosine': loss_cosine,
    'loss_covariance_head': loss_covariance_head,
    'loss_covariance_identity': loss_covariance_identity,
}
