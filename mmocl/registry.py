"""Child registries of MMEngine's roots; modules are imported on first use through ``locations``."""

from contextlib import suppress
from importlib import import_module
from typing import Any

import mmengine.registry as mmengine
from mmengine.registry import DefaultScope, Registry

from mmocl.require_module import require_module


class ScopedRegistry(Registry):
    """A registry whose modules are found by their bare names in runs of other libraries too.

    There MMEngine looks bare names up in the library of the default scope only, so that the parts
    of ``dict(type='mmocl.SlotSegHead', slot_head=dict(type='SlotAttention'))`` were unknown. A name
    that the library of the default scope has itself means its own module, as before. What is named
    with the prefix of another library is built as in a run of that library, so that it finds its
    own parts.
    """

    def build(self, cfg: dict, *args: Any, **kwargs: Any) -> Any:
        """Build a module from its config."""
        kind = cfg.get('type') if isinstance(cfg, dict) else None
        if isinstance(kind, str):
            _require_package(kind, cfg.get('_scope_'))
            scope = None if '_scope_' in cfg else self._scope_of(kind)
            if scope is not None:
                # Without the prefix, by which a registry would look no further than in itself.
                cfg = {**cfg, '_scope_': scope, 'type': kind.rpartition('.')[2]}
        return super().build(cfg, *args, **kwargs)

    def find(self, kind: str) -> Any:
        """Find the class that :meth:`build` would take; None if there is none."""
        _require_package(kind)
        current = self._current()
        if current is not None and kind in current.module_dict:
            return current.module_dict[kind]
        return self.get(kind)

    def _scope_of(self, kind: str) -> str | None:
        """The scope that a module is built in; None leaves it to MMEngine."""
        prefix, _, _ = kind.rpartition('.')
        if prefix:
            # A package in front of the name of a class is no scope.
            own = prefix == self.scope
            return None if own or self._registry_of(prefix) is None else prefix
        self.import_from_location()
        current = self._current()
        shadowed = current is not None and kind in current.module_dict
        return self.scope if kind in self.module_dict and not shadowed else None

    def _current(self) -> Registry | None:
        """The registry of the default scope, if that is another library's."""
        scope = DefaultScope.get_current_instance()
        if scope is None or scope.scope_name == self.scope:
            return None
        registry = self._registry_of(scope.scope_name)
        if registry is not None:
            registry.import_from_location()
        return registry

    def _registry_of(self, scope: str) -> Registry | None:
        """The sister of this registry in another library, which is imported if it is there."""
        with suppress(ImportError):
            import_module(f'{scope}.registry')
        assert self.parent is not None
        return self.parent.children.get(scope)


def _require_package(kind: str, scope: str | None = None) -> None:
    """Say how to install what a module comes from; MMEngine would only call its name unknown."""
    if scope == 'mmseg' or kind.startswith('mmseg.'):
        require_module('mmseg', 'segmentation', wanted_by=kind)


MODELS = ScopedRegistry('model', parent=mmengine.MODELS, locations=['mmocl.models'])
DATASETS = ScopedRegistry('dataset', parent=mmengine.DATASETS, locations=['mmocl.datasets'])
TRANSFORMS = ScopedRegistry(
    'transform', parent=mmengine.TRANSFORMS, locations=['mmocl.datasets.transforms']
)
METRICS = ScopedRegistry('metric', parent=mmengine.METRICS, locations=['mmocl.evaluation.metrics'])
HOOKS = Registry('hook', parent=mmengine.HOOKS, locations=['mmocl.engine.hooks'])
VISUALIZERS = Registry('visualizer', parent=mmengine.VISUALIZERS, locations=['mmocl.visualization'])
OPTIM_WRAPPERS = Registry(
    'optim_wrapper', parent=mmengine.OPTIM_WRAPPERS, locations=['mmocl.engine.optim']
)
OPTIM_WRAPPER_CONSTRUCTORS = Registry(
    'optimizer wrapper constructor',
    parent=mmengine.OPTIM_WRAPPER_CONSTRUCTORS,
    locations=['mmocl.engine.optim'],
)
FUNCTIONS = Registry('function', parent=mmengine.FUNCTIONS, locations=['mmocl.datasets'])

# mmocl has no modules of these kinds, but MMEngine warns at each build where a scope has no child.
LOOPS = Registry('loop', parent=mmengine.LOOPS)
OPTIMIZERS = Registry('optimizer', parent=mmengine.OPTIMIZERS)
PARAM_SCHEDULERS = Registry('parameter scheduler', parent=mmengine.PARAM_SCHEDULERS)
DATA_SAMPLERS = Registry('data sampler', parent=mmengine.DATA_SAMPLERS)
VISBACKENDS = Registry('vis_backend', parent=mmengine.VISBACKENDS)
MODEL_WRAPPERS = Registry('model_wrapper', parent=mmengine.MODEL_WRAPPERS)
