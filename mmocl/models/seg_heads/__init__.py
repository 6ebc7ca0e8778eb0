from mmocl.models.seg_heads.slot_seg_head import SlotSegHead
from mmocl.models.seg_heads.slot_semantic_head import SlotSemanticHead

__all__ = ['SlotSegHead', 'SlotSemanticHead']
