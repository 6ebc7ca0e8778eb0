from typing import Any

from mmengine.optim import DefaultOptimWrapperConstructor
from torch import nn

from mmocl.registry import OPTIM_WRAPPER_CONSTRUCTORS


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class MergedGroupsConstructor(DefaultOptimWrapperConstructor):
    """MMEngine's constructor, with one parameter group for all parameters of the same options.

    With ``paramwise_cfg`` MMEngine makes a group of every single parameter, for each of which an
    optimizer starts kernels of its own. The update is the same; checkpoints of optimizers, which
    hold the groups, do not fit from one form to the other.

    Use it as ``optim_wrapper = dict(constructor='MergedGroupsConstructor', paramwise_cfg=...)``.
    """

    def add_params(
        self,
        params: list[dict],
        module: nn.Module,
        prefix: str = '',
        is_dcn_module: int | float | None = None,
    ) -> None:
        """Collect the groups of a module as MMEngine does; merge those of the whole model."""
        super().add_params(params, module, prefix, is_dcn_module)
        if not prefix:
            params[:] = merge_groups(params)


def merge_groups(groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Merge parameter groups whose options are equal; the order of first appearance stays."""
    merged: list[dict[str, Any]] = []
    for group in groups:
        options = {name: value for name, value in group.items() if name != 'params'}
        for other in merged:
            if options == {name: value for name, value in other.items() if name != 'params'}:
                other['params'] = [*other['params'], *group['params']]
                break
        else:
            merged.append(dict(group))
    return merged
