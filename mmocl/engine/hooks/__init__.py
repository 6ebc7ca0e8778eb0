from mmocl.engine.hooks.attribute_annealing_hook import AttributeAnnealingHook
from mmocl.engine.hooks.slot_visualization_hook import SlotVisualizationHook
from mmocl.engine.hooks.strict_checkpoint_hook import StrictCheckpointHook

__all__ = ['AttributeAnnealingHook', 'SlotVisualizationHook', 'StrictCheckpointHook']
