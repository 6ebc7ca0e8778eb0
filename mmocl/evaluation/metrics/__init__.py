from mmocl.evaluation.metrics.object_discovery import ObjectDiscoveryMetric
from mmocl.evaluation.metrics.set_prediction import SetPredictionMetric
from mmocl.evaluation.metrics.slot_count import SlotCountMetric

__all__ = ['ObjectDiscoveryMetric', 'SetPredictionMetric', 'SlotCountMetric']
