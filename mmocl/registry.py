"""Child registries of MMEngine's roots; modules are imported on first use through ``locations``."""

from typing import Any

import mmengine.registry as mmengine
from mmengine.registry import Registry

from mmocl.require_module import require_module


class ScopedRegistry(Registry):
    """A registry whose modules are found by their bare names whatever the default scope is.

    In a run of another library, MMEngine looks bare names up in that library only, so that the
    parts of ``dict(type='mmocl.SlotSegHead', slot_head=dict(type='SlotAttention'))`` were unknown
    there. Names with the prefix of another library are built as in a run of that library, so that
    it finds its own parts. Other names are left to MMEngine.
    """

    def build(self, cfg: dict, *args: Any, **kwargs: Any) -> Any:
        """Build a module from its config."""
        kind = cfg.get('type') if isinstance(cfg, dict) and '_scope_' not in cfg else None
        if isinstance(kind, str):
            self.import_from_location()
            prefix = kind.rpartition('.')[0]
            if kind in self.module_dict:
                cfg = {**cfg, '_scope_': self.scope}
            elif prefix not in ('', self.scope):
                cfg = {**cfg, '_scope_': prefix}
            _require_package(kind)
        return super().build(cfg, *args, **kwargs)

    def get(self, key: str) -> Any:
        """Find a module by its name."""
        _require_package(key)
        return super().get(key)


def _require_package(kind: str) -> None:
    """Say how to install what a module comes from; MMEngine would only call its name unknown."""
    if kind.startswith('mmseg.'):
        complaint = f'{kind} needs mmsegmentation, which'
        require_module('mmseg', extra='segmentation', complaint=complaint)


MODELS = ScopedRegistry('model', parent=mmengine.MODELS, locations=['mmocl.models'])
DATASETS = ScopedRegistry('dataset', parent=mmengine.DATASETS, locations=['mmocl.datasets'])
TRANSFORMS = ScopedRegistry(
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
