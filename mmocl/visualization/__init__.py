from mmocl.visualization.slot_visualizer import SlotVisualizer

__all__ = ['SlotVisualizer']
