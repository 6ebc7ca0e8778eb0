from mmocl.engine.hooks.attribute_annealing_hook import AttributeAnnealingHook
from mmocl.engine.hooks.channels_last_hook import ChannelsLastHook
from mmocl.engine.hooks.collapse_monitor_hook import CollapseMonitorHook
from mmocl.engine.hooks.compile_hook import CompileHook
from mmocl.engine.hooks.deferred_info_hook import DeferredInfoHook
from mmocl.engine.hooks.feature_cache_hook import FeatureCacheHook
from mmocl.engine.hooks.slot_visualization_hook import SlotVisualizationHook
from mmocl.engine.hooks.strict_checkpoint_hook import StrictCheckpointHook

__all__ = [
    'AttributeAnnealingHook',
    'ChannelsLastHook',
    'CollapseMonitorHook',
    'CompileHook',
    'DeferredInfoHook',
    'FeatureCacheHook',
    'SlotVisualizationHook',
    'StrictCheckpointHook',
]
