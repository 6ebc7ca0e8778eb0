from collections.abc import Callable

import torch
from torch import Tensor


def require(condition: Tensor, message: Callable[[], str]) -> None:
    """Raise a ValueError if a condition on tensor values does not hold.

    On a GPU and in compiled graphs the check is asynchronous: reading the condition would make the
    host wait for the device. There it is an assertion of the device, without the counts.

    Args:
        condition: One boolean.
        message: Gives the text of the error; called only when it is needed.

    Raises:
        ValueError: If the condition is false.
    """
    if condition.is_cuda or torch.compiler.is_compiling():
        torch._assert_async(condition, 'a slot model met values that are not allowed')
    elif not condition:
        raise ValueError(message())
