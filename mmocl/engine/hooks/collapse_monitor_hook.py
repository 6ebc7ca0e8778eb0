from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import nn

from mmocl.evaluation.collapse_signs import check_limits, find_signs
from mmocl.evaluation.metrics import CollapseMetric
from mmocl.evaluation.metrics.sample import check_sources
from mmocl.registry import HOOKS
from mmocl.structures import MASK_SOURCES


@HOOKS.register_module()
class CollapseMonitorHook(Hook):
    """Watch during training whether slots collapse, and warn with what may help.

    Every ``interval`` iterations the model predicts the first images of the current batch, in
    evaluation mode and without a graph, on the main process. The results of
    :class:`~mmocl.evaluation.metrics.CollapseMetric` are logged as ``collapse_<result>``. From
    iteration ``begin`` on a warning comes when a sign of ``mmocl.evaluation.collapse_signs``
    appears, once until it is gone.

    Bad masks do not end training: NaN and the like are warned of when they appear, and without
    masks to look at the hook warns and is done. (Running out of memory does.)

    Training stays as it would be without the hook: random numbers, the mode of every module and
    the batch are left as they were. A check costs a forward pass of ``num_images`` and copies of
    their masks to the host; other iterations cost nothing. Use it by
    ``custom_hooks = [dict(type='StrictCheckpointHook'), dict(type='CollapseMonitorHook')]``.

    Args:
        interval: Iterations between checks.
        num_images: Images of a check, at most; two at least, since images are compared.
        begin: Iteration of the first warning; an untrained model looks collapsed.
        mask_sources: Masks to look at, ``'decoder'`` or ``'attention'`` or both, or
            mmsegmentation's ``'segmentor'`` (None: those that the model predicts).
        limits: Limits of signs to use instead of the default ones, by result, e.g.
            ``dict(position=0.9)``; infinite never warns.

    Raises:
        ValueError: If ``interval`` is below 1, ``num_images`` below 2, or a source or a sign
            unknown.
    """

    priority = 'NORMAL'

    def __init__(
        self,
        interval: int = 500,
        num_images: int = 16,
        begin: int = 1000,
        mask_sources: Sequence[str] | None = None,
        limits: Mapping[str, float] | None = None,
    ) -> None:
        if interval < 1:
            raise ValueError(f'interval must be at least 1, got {interval}.')
        if num_images < 2:
            raise ValueError(f'num_images must be at least 2, got {num_images}.')
        self.interval = interval
        self.num_images = num_images
        self.begin = begin
        self.mask_sources = None if mask_sources is None else check_sources(mask_sources)
        self.limits = check_limits(limits)
        self.signs: set[str] = set()
        self.results: list[str] = []
        self.failed = False
        self.disabled = False

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any | None = None,
        outputs: dict | None = None,
    ) -> None:
        """Check the model on the batch it just learned from."""
        if not self.every_n_train_iters(runner, self.interval) or not is_main_process():
            return
        if data_batch is None or self.disabled:
            return
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        # Without the batch's data samples, which would be filled.
        inputs = data_batch['inputs'][: self.num_images]
        try:
            with undisturbed(model), torch.no_grad():
                samples = [sample.to_dict() for sample in model.test_step({'inputs': inputs})]
            sources = self._sources(runner, samples[0])
            if not sources:
                return
            metric = CollapseMetric(sources)
            metric.process(None, samples)
            results = metric.compute_metrics(metric.results)
        except ValueError as error:
            if not self.failed:
                runner.logger.warning(
                    f'Collapse cannot be checked at iteration {runner.iter + 1}: {error}'
                )
            self.failed = True
            self._log(runner, dict.fromkeys(self.results, float('nan')))
            return
        self.failed = False
        del results['num_images']
        self.results = list(results)
        self._log(runner, results)
        if runner.iter + 1 >= self.begin:
            self._warn(runner, results, sources)

    def _sources(self, runner: Runner, sample: Mapping[str, Any]) -> list[str]:
        """Masks to look at; without them none, and no more checks."""
        found = [name for name, (key, _) in MASK_SOURCES.items() if key in sample]
        wanted = found if self.mask_sources is None else self.mask_sources
        if wanted and set(wanted) <= set(found):
            return wanted
        self.disabled = True
        runner.logger.warning(
            f'CollapseMonitorHook stops: mask_sources={self.mask_sources}, but the model predicts '
            f'masks of {found}; name in mask_sources what it predicts, or leave the hook out'
        )
        return []

    def _log(self, runner: Runner, results: Mapping[str, float]) -> None:
        for name, value in results.items():
            # MMEngine would log an older value for one that is not there.
            runner.message_hub.update_scalar(f'train/collapse_{name}', value)

    def _warn(self, runner: Runner, results: Mapping[str, float], sources: Sequence[str]) -> None:
        """Say which signs have appeared since the last check."""
        found: dict[str, str] = {}
        for source in sources:
            found |= find_signs(results, self.limits, MASK_SOURCES[source][1])
        for name, text in found.items():
            if name not in self.signs:
                runner.logger.warning(f'Slots may collapse at iteration {runner.iter + 1}: {text}')
        self.signs = set(found)


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """Evaluation mode, after which modes and random numbers are what they were before."""
    modes = [(module, module.training) for module in model.modules()]
    device = next((value.device for value in model.parameters()), torch.device('cpu'))
    # Those of the CPU are always kept; only CUDA is known to have more.
    devices = [device] if device.type == 'cuda' else []
    with torch.random.fork_rng(devices):
        model.eval()
        try:
            yield
        finally:
            # One by one: a part may have been set to evaluation on purpose.
            for module, mode in modes:
                module.training = mode
