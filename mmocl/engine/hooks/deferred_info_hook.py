from collections.abc import Callable, Sequence
from typing import Any

import torch
from mmengine.hooks import LoggerHook, RuntimeInfoHook
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import Tensor

from mmocl.registry import HOOKS


@HOOKS.register_module()
class DeferredInfoHook(RuntimeInfoHook):
    """MMEngine's ``RuntimeInfoHook`` without its wait for the device in every iteration.

    That hook reads every loss back from the device as soon as it is computed, and the optimizer
    wrapper does so with the norm of the gradients, which stalls a GPU. Here they stay on the device
    until the ``LoggerHook`` shows its line or a checkpoint is saved, and come in one transfer. What
    is logged, means over windows and resumed histories included, is the same; other hooks that read
    the training scalars of MMEngine's ``MessageHub`` between two lines find older ones.

    Use it as ``default_hooks = dict(runtime_info=dict(type='DeferredInfoHook'))``.
    """

    def __init__(self) -> None:
        self._pending: list[tuple[str, float | Tensor]] = []
        self._undo: list[Callable[[], None]] = []
        self._intervals = [1]

    def before_train(self, runner: Runner) -> None:
        """Take over the norm of the gradients; see when losses are shown."""
        super().before_train(runner)
        self._restore()  # after a training that broke off
        self._pending = []
        self._intervals = [hook.interval for hook in runner.hooks if isinstance(hook, LoggerHook)]
        wrapper = runner.optim_wrapper
        for part in [wrapper] if isinstance(wrapper, OptimWrapper) else wrapper.values():
            if part.clip_grad_kwargs:
                self._undo.append(take_norm(part, self._keep))

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any | None = None,
        outputs: dict | None = None,
    ) -> None:
        """Keep the losses; hand all over if a line of the log comes next."""
        for name, value in (outputs or {}).items():
            self._keep(f'train/{name}', value)
        shown = any(self.every_n_inner_iters(batch_idx, n) for n in self._intervals)
        if shown or self.end_of_epoch(runner.train_dataloader, batch_idx):
            self._hand_over(runner)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Let the checkpoint hold the whole history."""
        self._hand_over(runner)
        checkpoint['message_hub'] = runner.message_hub.state_dict()

    def after_train(self, runner: Runner) -> None:
        """Hand over what is left, and give the gradients' norm back to its wrapper."""
        super().after_train(runner)
        self._hand_over(runner)
        self._restore()

    def _restore(self) -> None:
        while self._undo:
            self._undo.pop()()

    def _keep(self, name: str, value: float | Tensor) -> None:
        self._pending.append((name, value.detach() if isinstance(value, Tensor) else value))

    def _hand_over(self, runner: Runner) -> None:
        """Give all that was kept to the message hub, in order."""
        tensors = [value for _, value in self._pending if isinstance(value, Tensor)]
        # One transfer for all of a type and device.
        groups: dict[tuple, list[Tensor]] = {}
        for tensor in tensors:
            groups.setdefault((tensor.dtype, tensor.device), []).append(tensor.reshape(()))
        read = {key: iter(torch.stack(group).tolist()) for key, group in groups.items()}
        for name, value in self._pending:
            number = next(read[value.dtype, value.device]) if isinstance(value, Tensor) else value
            runner.message_hub.update_scalar(name, number)
        self._pending = []


def take_norm(wrapper: OptimWrapper, keep: Callable[[str, Tensor], None]) -> Callable[[], None]:
    """Let a wrapper's clipping return nothing, so that the wrapper reads no norm back.

    Args:
        wrapper: A wrapper that clips gradients.
        keep: Called with the norm's name in the log and the norm, on its device.

    Returns:
        What undoes it.
    """
    clip, name = wrapper.clip_func, f'train/{wrapper.grad_name}'

    def clip_quietly(params: Sequence[Tensor], **options: Any) -> None:
        norm = clip(params, **options)
        if norm is not None:
            keep(name, norm)

    wrapper.clip_func = clip_quietly
    return lambda: setattr(wrapper, 'clip_func', clip)
