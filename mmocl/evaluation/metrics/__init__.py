from mmocl.evaluation.metrics.foreground_overlap import ForegroundMetric
from mmocl.evaluation.metrics.object_discovery import ObjectDiscoveryMetric
from mmocl.evaluation.metrics.slot_count import SlotCountMetric

__all__ = ['ForegroundMetric', 'ObjectDiscoveryMetric', 'SlotCountMetric']
