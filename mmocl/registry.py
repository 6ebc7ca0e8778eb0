"""Child registries of MMEngine's roots; modules are imported on first use through ``locations``."""

import mmengine.registry as mmengine
from mmengine.registry import Registry

MODELS = Registry('model', parent=mmengine.MODELS, locations=['mmocl.models'])
DATASETS = Registry('dataset', parent=mmengine.DATASETS, locations=['mmocl.datasets'])
TRANSFORMS = Registry(
    'transform', parent=mmengine.TRANSFORMS, locations=['mmocl.datasets.transforms']
)
METRICS = Registry('metric', parent=mmengine.METRICS, locations=['mmocl.evaluation.metrics'])
HOOKS = Registry('hook', parent=mmengine.HOOKS, locations=['mmocl.engine.hooks'])
VISUALIZERS = Registry('visualizer', parent=mmengine.VISUALIZERS, locations=['mmocl.visualization'])
OPTIM_WRAPPERS = Registry(
    'optim_wrapper', parent=mmengine.OPTIM_WRAPPERS, locations=['mmocl.engine.optim']
)

# mmocl has no modules of these kinds, but MMEngine warns at each build where a scope has no child.
LOOPS = Registry('loop', parent=mmengine.LOOPS)
OPTIMIZERS = Registry('optimizer', parent=mmengine.OPTIMIZERS)
OPTIM_WRAPPER_CONSTRUCTORS = Registry(
    'optimizer wrapper constructor', parent=mmengine.OPTIM_WRAPPER_CONSTRUCTORS
)
PARAM_SCHEDULERS = Registry('parameter scheduler', parent=mmengine.PARAM_SCHEDULERS)
DATA_SAMPLERS = Registry('data sampler', parent=mmengine.DATA_SAMPLERS)
VISBACKENDS = Registry('vis_backend', parent=mmengine.VISBACKENDS)
MODEL_WRAPPERS = Registry('model_wrapper', parent=mmengine.MODEL_WRAPPERS)
