from mmocl.apis.aggregate_posterior import AggregatePosterior
from mmocl.apis.composition import compose_scenes, fit_posterior
from mmocl.apis.inferencer import SlotInferencer
from mmocl.apis.model_index import find_model
from mmocl.apis.model_source import resolve_model
from mmocl.apis.slot_map import UNSEEN, slot_map, slot_overlay

__all__ = [
    'UNSEEN',
    'AggregatePosterior',
    'SlotInferencer',
    'compose_scenes',
    'find_model',
    'fit_posterior',
    'resolve_model',
    'slot_map',
    'slot_overlay',
]
