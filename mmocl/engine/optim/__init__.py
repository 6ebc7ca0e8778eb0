from mmocl.engine.optim.bf16_optim_wrapper import Bf16OptimWrapper
from mmocl.engine.optim.merged_groups_constructor import MergedGroupsConstructor

__all__ = ['Bf16OptimWrapper', 'MergedGroupsConstructor']
