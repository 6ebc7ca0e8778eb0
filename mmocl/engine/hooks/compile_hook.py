from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import Tensor, nn

from mmocl.registry import HOOKS

#: Of our models, and of heads and necks in mmsegmentation's.
PARTS = (
    'backbone',
    'slot_head',
    'decoder',
    'decode_head.slot_head',
    'decode_head.decoder',
    'neck.slot_head',
)


@HOOKS.register_module()
class CompileHook(Hook):
    """Compile parts of the model with ``torch.compile``, each for batches of any size.

    MMEngine's ``compile=True`` takes the whole training step, with optimizer, log and checks of the
    host in it, which gives many small graphs. Here every part is one graph (one for training and
    one for evaluation), and the dimension of the batch is a symbol, so that the last, smaller batch
    does not compile anew. A batch of one image does, since there PyTorch always specialises, and so
    does the first change of a number that a hook anneals. The names of weights stay, so checkpoints
    fit with and without. Checks on values become assertions of the device, which raise a
    ``RuntimeError``. With ``active`` slots (``prune_threshold``) a decoder splits into several
    graphs, as their number is read back.

    Use it by ``custom_hooks = [dict(type='StrictCheckpointHook'), dict(type='CompileHook')]``, or
    by ``tools/train.py --compile``.

    Args:
        parts: Paths of parts of the model, dots between names; those that it does not have are left
            out, but one has to be there.
        backend: Compiler, see ``torch.compile``.
        mode: Its mode; ``'reduce-overhead'`` uses CUDA graphs.

    Raises:
        ValueError: If ``parts`` is empty; before a run if the model has none of them.
    """

    priority = 'VERY_HIGH'

    def __init__(
        self,
        parts: Sequence[str] = PARTS,
        backend: str | Callable = 'inductor',
        mode: str | None = None,
    ) -> None:
        if not parts or isinstance(parts, str):
            raise ValueError(f'parts must be a list of names, at least one, got {parts!r}.')
        self.parts = tuple(parts)
        self.backend = backend
        self.mode = mode

    def before_run(self, runner: Runner) -> None:
        """Compile what is there; the work itself is done when the parts first run."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        names = self.compile(model)
        runner.logger.info(
            f'Compiling {", ".join(names)} ({self.backend}); the first iterations are slow.'
        )

    def compile(self, model: nn.Module) -> list[str]:
        """Compile the parts of a model; return the names of those that it has."""
        found = {name: part for name in self.parts if (part := _find_part(model, name)) is not None}
        if not found:
            names = [name for name, _ in model.named_children()]
            raise ValueError(
                f'CompileHook: the {type(model).__name__} has none of the parts {self.parts}; '
                f'expected some of {names}.'
            )
        for part in found.values():
            if part._compiled_call_impl is None:
                part.compile(backend=self.backend, mode=self.mode)
                call: Any = part._compiled_call_impl
                # Not in the compiled call, where it would be too late; copies of a module leave it.
                part._compiled_call_impl = _with_any_batch(call)
        return list(found)


def _find_part(model: nn.Module, path: str) -> nn.Module | None:
    part: Any = model
    for name in path.split('.'):
        part = getattr(part, name, None)
    return part if isinstance(part, nn.Module) else None


def _with_any_batch(call: Callable) -> Callable:
    """Mark the batch of all inputs as a symbol before each call."""

    def run(*args: Any, **options: Any) -> Any:
        for tensor in find_tensors([args, options]):
            if tensor.ndim:
                torch._dynamo.maybe_mark_dynamic(tensor, 0)
        return call(*args, **options)

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
