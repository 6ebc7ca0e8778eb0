from mmocl.engine.hooks.slot_visualization_hook import SlotVisualizationHook
from mmocl.engine.hooks.strict_checkpoint_hook import StrictCheckpointHook

__all__ = ['SlotVisualizationHook', 'StrictCheckpointHook']
