import math
from typing import Any

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from mmocl.registry import HOOKS


@HOOKS.register_module()
class AttributeAnnealingHook(Hook):
    """Change a number of the model during training: noise, temperature, weight of a loss.

    Before every iteration the attribute is set to the schedule's value at ``runner.iter``, so a
    resumed run goes on where it stopped; after training it keeps its last value. The value is
    logged. BO-QSA, `arXiv:2210.08990 <https://arxiv.org/abs/2210.08990>`_, takes the noise of its
    queries (``'slot_head.initializer.sigma'``) from 1 to 0 by a cosine over 30,000 steps.

    Args:
        attribute: Path of the number from the model, dots between its parts.
        start: First value.
        end: Value from step ``num_steps`` on.
        num_steps: Length of the schedule in iterations; with 0 the value is ``end`` at once.
        by: ``'cosine'`` or ``'linear'``.
        name: Name in the log; the last part of the path if not given. MMEngine logs a mean over its
            window instead of the last value if 'loss' or 'time' is in it.

    Raises:
        ValueError: If ``by`` is unknown or ``num_steps`` negative.
    """

    priority = 'NORMAL'

    def __init__(
        self,
        attribute: str,
        start: float,
        end: float,
        num_steps: int,
        by: str = 'cosine',
        name: str | None = None,
    ) -> None:
        # Not only in the first iteration.
        anneal(0, start, end, num_steps, by)
        self.attribute = attribute
        self.start = start
        self.end = end
        self.num_steps = num_steps
        self.by = by
        self.name = attribute.rpartition('.')[2] if name is None else name

    def before_train(self, runner: Runner) -> None:
        """Look for the attribute.

        Raises:
            ValueError: If the model has none of that name, or it is not a number.
        """
        find_owner(_unwrapped(runner), self.attribute)

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any | None = None
    ) -> None:
        """Set and log the value."""
        value = anneal(runner.iter, self.start, self.end, self.num_steps, self.by)
        owner, last = find_owner(_unwrapped(runner), self.attribute)
        setattr(owner, last, value)
        runner.message_hub.update_scalar(f'train/{self.name}', value)


def anneal(step: int, start: float, end: float, num_steps: int, by: str) -> float:
    """Return the value of a schedule, which is ``start`` at step 0 and ``end`` at ``num_steps``.

    Raises:
        ValueError: If ``by`` is unknown or ``num_steps`` negative.
    """
    if by not in ('cosine', 'linear'):
        raise ValueError(f"by must be 'cosine' or 'linear', got {by!r}.")
    if num_steps < 0:
        raise ValueError(f'num_steps must not be negative, got {num_steps}.')
    if step >= num_steps:
        return end
    done = step / num_steps
    left = 0.5 + 0.5 * math.cos(math.pi * done) if by == 'cosine' else 1 - done
    return end + (start - end) * left


def find_owner(root: Any, path: str) -> tuple[Any, str]:
    """Return the object that holds the number at ``path``, and the number's own name.

    Raises:
        ValueError: If there is nothing at the path, or no number.
    """
    *parents, last = path.split('.')
    owner = root
    for i, part in enumerate(parents):
        if not hasattr(owner, part):
            raise ValueError(_not_found(path, '.'.join(parents[:i]), owner))
        owner = getattr(owner, part)
    if not _is_number(getattr(owner, last, None)):
        raise ValueError(_not_found(path, '.'.join(parents), owner))
    return owner, last


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _not_found(path: str, reached: str, owner: Any) -> str:
    values = getattr(owner, '__dict__', {})
    public = {name: value for name, value in values.items() if not name.startswith('_')}
    numbers = sorted(name for name, value in public.items() if _is_number(value))
    parts = sorted(getattr(owner, '_modules', {}))
    where = f'{reached!r}, a {type(owner).__name__},' if reached else f'The {type(owner).__name__}'
    return (
        f'The model has no number {path!r}. {where} has the numbers '
        f'{", ".join(numbers) or "(none)"} and the parts {", ".join(parts) or "(none)"}.'
    )


def _unwrapped(runner: Runner) -> Any:
    return runner.model.module if is_model_wrapper(runner.model) else runner.model
