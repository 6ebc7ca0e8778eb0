from mmocl.engine.hooks.slot_visualization_hook import SlotVisualizationHook

__all__ = ['SlotVisualizationHook']
