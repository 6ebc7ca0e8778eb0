from mmocl.apis.inferencer import SlotInferencer

__all__ = ['SlotInferencer']
