from collections.abc import Callable

import torch
from torch import Tensor


def require(condition: Tensor, message: str, detail: Callable[[], str] | None = None) -> None:
    """Raise a ValueError if a condition on tensor values does not hold.

    On a GPU and in compiled graphs the check is asynchronous, since reading the condition would
    make the host wait for the device: there it is an assertion of the device with ``message``,
    which comes as a RuntimeError.

    Args:
        condition: One boolean.
        message: Text of the error.
        detail: Gives more text, such as counts; called only when it is needed.

    Raises:
        ValueError: If the condition is false.
    """
    if condition.is_cuda or torch.compiler.is_compiling():
        torch._assert_async(condition, message)
    elif not condition:
        raise ValueError(message if detail is None else f'{message} {detail()}')
