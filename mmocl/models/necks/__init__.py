from mmocl.models.necks.slot_neck import SlotNeck

__all__ = ['SlotNeck']
