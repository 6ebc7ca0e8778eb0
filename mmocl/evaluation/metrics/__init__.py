from mmocl.evaluation.metrics.object_discovery import ObjectDiscoveryMetric

__all__ = ['ObjectDiscoveryMetric']
