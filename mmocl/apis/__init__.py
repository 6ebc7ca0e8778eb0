from mmocl.apis.aggregate_posterior import AggregatePosterior
from mmocl.apis.composition import compose_scenes, fit_posterior
from mmocl.apis.inferencer import SlotInferencer

__all__ = ['AggregatePosterior', 'SlotInferencer', 'compose_scenes', 'fit_posterior']
