"""Heads and configs of ``projects/as_released``; their numbers are checked in test_golden."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from mmocl.structures import Features, SlotInputs, SlotState
from projects.as_released.psa import ReleasedPSA
from projects.as_released.psa_slots import ReleasedPSASlots
from projects.as_released.smm import ReleasedSMM
from projects.as_released.smm_front_slots import ReleasedSMMFrontSlots
from projects.as_released.smm_slots import ReleasedSMMSlots

FOLDER = Path(__file__).resolve().parents[2] / 'projects/as_released'
CONFIGS = sorted(path.name for path in FOLDER.glob('*_sprites.py'))


def test_there_are_configs() -> None:
    assert len(CONFIGS) == 4


@pytest.mark.parametrize('config', CONFIGS)
def test_config_trains_a_step(config, tmp_path) -> None:
    cfg = Config.fromfile(FOLDER / config)
    cfg.dump(tmp_path / 'dumped.py')
    assert Config.fromfile(tmp_path / 'dumped.py').to_dict() == cfg.to_dict()
    for name in ('train', 'val', 'test'):
        cfg[f'{name}_dataloader'].update(batch_size=2)
        cfg[f'{name}_dataloader'].dataset.num_images = 4
    cfg.train_cfg.update(max_iters=1, val_interval=1)
    cfg.param_scheduler = None
    cfg.default_hooks.checkpoint = None
    cfg.work_dir = str(tmp_path)
    cfg.experiment_name = tmp_path.name
    runner = Runner.from_cfg(cfg)
    head = runner.model.slot_head
    before = {name: value.clone() for name, value in head.named_parameters()}
    runner.train()
    moved = {name for name, value in head.named_parameters() if not value.equal(before[name])}
    assert 'initializer.mean' in moved or 'embed.1.mean' in moved
    assert all(value.isfinite().all() for value in head.parameters())
    assert runner.test()['ocl/num_images'] == 4


def features_of(dim: int = 8) -> Features:
    return Features(torch.randn(2, 36, dim), (6, 6))


def psa(**kwargs) -> ReleasedPSA:
    return ReleasedPSA(ReleasedPSASlots(4, 8), 8, **kwargs)


def smm(**kwargs) -> ReleasedSMM:
    return ReleasedSMM(ReleasedSMMSlots(4, 8), 8, **kwargs)


def test_psa_with_projected_prior_lets_nan_through() -> None:
    """As it is initialised; nothing is raised."""
    features = features_of()
    heads = {v: psa(variant='dynamic', variance=v, num_tokens=36) for v in ('map', 'mle')}
    heads['mle'].load_state_dict(heads['map'].state_dict())
    assert heads['mle'](features).slots.isfinite().all()
    # The variance gets NaN, and the slots from the next step on.
    assert heads['map'](features, num_iters=1).slots.isfinite().all()
    assert heads['map'](features).slots.isnan().all(dim=2).any()


def test_psa_says_in_which_space_its_variances_are() -> None:
    assert psa(variant='fixed').has_slot_posterior
    assert not psa(variant='dynamic').has_slot_posterior


def test_psa_mlp_never_lowers_a_slot() -> None:
    update = psa(variant='dynamic').update
    slots = torch.randn(2, 4, 8)
    assert (update.mlp(slots) >= 0).all()


@pytest.mark.parametrize('fair', [False, True])
def test_smm_weights_move_only_if_fair(fair) -> None:
    output = smm(fair=fair)(features_of())
    equal = torch.full((2, 4), 0.25)
    assert output.state.log_weight.exp().allclose(equal, atol=1e-6) is not fair
    assert output.state.log_weight.exp().sum(dim=1).allclose(torch.ones(2))


@pytest.mark.parametrize('fair', [False, True])
def test_smm_learns_its_start_through_the_weights_only(fair) -> None:
    head = smm(fair=fair).double()
    features = Features(torch.randn(2, 36, 8).double(), (6, 6))
    (grad,) = torch.autograd.grad(head(features).slots.square().sum(), head.initializer.mean)
    assert (grad.abs().max() > 1e-6) if fair else (grad.abs().max() < 1e-12)


def test_smm_front_needs_tokens_as_wide_as_slots() -> None:
    with pytest.raises(ValueError, match='needs tokens as wide as slots, 8, got 16'):
        ReleasedSMM(ReleasedSMMFrontSlots(4, 8), 16, 8)


@pytest.mark.parametrize('head', [psa(), smm()], ids=['psa', 'smm'])
@pytest.mark.parametrize('masked', ['token_mask', 'slot_mask'])
def test_masks_are_refused(head, masked) -> None:
    features = features_of()
    mask = torch.ones(2, 36 if masked == 'token_mask' else 4, dtype=torch.bool)
    state = SlotState(*(torch.zeros(s) for s in ((2, 4, 8), (2, 4, 8), (2, 4))))
    inputs = SlotInputs(*head.project(features.tokens), **{masked: mask})
    with pytest.raises(ValueError, match='knows no masks'):
        head.step(state, inputs)


def test_unknown_options_are_refused() -> None:
    with pytest.raises(ValueError, match='variance must be one of'):
        psa(variance='mode')
    with pytest.raises(ValueError, match='slot_dim must be the width of the tokens 8, got 4'):
        psa(slot_dim=4)
