import torch
from mmengine.optim import build_optim_wrapper
from torch import nn

from mmocl.engine.optim.merged_groups_constructor import merge_groups


def _model() -> nn.Module:
    torch.manual_seed(0)
    return nn.ModuleDict(
        {name: nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)) for name in ('tokenizer', 'decoder')}
    )


def _wrapper(model: nn.Module, constructor: str):
    return build_optim_wrapper(
        model,
        {
            'type': 'OptimWrapper',
            'constructor': constructor,
            'optimizer': {'type': 'Adam', 'lr': 0.1, 'weight_decay': 0.1},
            'paramwise_cfg': {
                'custom_keys': {'tokenizer': {'lr_mult': 3.0}},
                'bias_decay_mult': 0.0,
            },
        },
    )


def test_a_group_for_each_set_of_options_and_the_same_update() -> None:
    results = []
    for constructor, num_groups in (
        ('MergedGroupsConstructor', 3),
        ('DefaultOptimWrapperConstructor', 8),
    ):
        model = _model()
        wrapper = _wrapper(model, constructor)
        groups = wrapper.optimizer.param_groups
        assert len(groups) == num_groups
        assert {round(group['lr'], 3) for group in groups} == {0.1, 0.3}
        assert sum(len(group['params']) for group in groups) == 8
        for _ in range(3):
            wrapper.update_params(sum(p.square().sum() for p in model.parameters()))
        results.append(model.state_dict())
    assert all(torch.equal(results[0][name], results[1][name]) for name in results[1])


def test_groups_with_other_options_stay_apart_and_in_order() -> None:
    a, b, c = (nn.Parameter(torch.zeros(1)) for _ in range(3))
    merged = merge_groups([{'params': [a], 'lr': 1.0}, {'params': [b]}, {'params': [c], 'lr': 1.0}])
    assert [group.get('lr') for group in merged] == [1.0, None]
    assert merged[0]['params'][1] is c
