from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from functools import wraps
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import Tensor, nn

from mmocl.registry import HOOKS


@HOOKS.register_module()
class CompileHook(Hook):
    """Compile parts of the model with ``torch.compile``, each for batches of any size.

    MMEngine's ``compile=True`` takes the whole training step, with optimizer, log and checks of the
    host in it, which gives many small graphs. Here every part is one graph, and the dimension of
    the batch is a symbol, so that the last, smaller batch does not compile anew (a batch of one
    does: there PyTorch always specialises). The names of weights stay, so checkpoints fit with and
    without. Checks on values become assertions of the device, which raise a ``RuntimeError``.

    Use it by ``custom_hooks = [dict(type='StrictCheckpointHook'), dict(type='CompileHook')]``, or
    by ``tools/train.py --compile``.

    Args:
        parts: Which parts of the model; those that it does not have are left out, but one has to be
            there.
        backend: Compiler, see ``torch.compile``.
        mode: Its mode; ``'reduce-overhead'`` uses CUDA graphs.
        fullgraph: Raise where a part does not fit into one graph, instead of splitting it.

    Raises:
        ValueError: If ``parts`` is empty; before a run if the model has none of them.
    """

    priority = 'VERY_HIGH'

    def __init__(
        self,
        parts: Sequence[str] = ('backbone', 'slot_head', 'decoder', 'decode_head'),
        backend: str = 'inductor',
        mode: str | None = None,
        fullgraph: bool = False,
    ) -> None:
        if not parts or isinstance(parts, str):
            raise ValueError(f'parts must be a list of names, at least one, got {parts!r}.')
        self.parts = tuple(parts)
        self.backend = backend
        self.mode = mode
        self.fullgraph = fullgraph

    def before_run(self, runner: Runner) -> None:
        """Compile what is there; the work itself is done when the parts first run."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        found = [name for name in self.parts if isinstance(getattr(model, name, None), nn.Module)]
        if not found:
            names = [name for name, _ in model.named_children()]
            raise ValueError(
                f'CompileHook: the {type(model).__name__} has none of the parts {self.parts}; '
                f'expected some of {names}.'
            )
        for name in found:
            part = getattr(model, name)
            if not getattr(part.forward, 'is_compiled', False):
                part.forward = self._compiled(part.forward)
        runner.logger.info(
            f'Compiling {", ".join(found)} ({self.backend}); the first iterations are slow.'
        )

    def _compiled(self, forward: Callable) -> Callable:
        compiled = torch.compile(
            forward, backend=self.backend, mode=self.mode, fullgraph=self.fullgraph
        )

        @wraps(forward)
        def run(*args: Any, **options: Any) -> Any:
            for tensor in find_tensors([args, options]):
                if tensor.ndim:
                    torch._dynamo.maybe_mark_dynamic(tensor, 0)
            return compiled(*args, **options)

        run.is_compiled = True  # type: ignore[attr-defined]
        return run


def find_tensors(value: Any) -> Iterator[Tensor]:
    """Find all tensors in containers and in the dataclasses that stages exchange."""
    if isinstance(value, Tensor):
        yield value
    elif is_dataclass(value):
        for field in fields(value):
            yield from find_tensors(getattr(value, field.name))
    elif isinstance(value, dict):
        yield from find_tensors(list(value.values()))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from find_tensors(item)
