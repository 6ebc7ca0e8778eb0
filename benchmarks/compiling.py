"""``torch.compile`` for benchmarks."""

from collections.abc import Callable

import torch

from benchmarks.measure import Setting


def compiled_form(form: Callable, setting: Setting) -> Callable:
    """Compile a function for the shapes that it meets, from a clean slate.

    A tiny run checks the path only: it needs no C++ compiler and no time.
    """
    torch._dynamo.reset()
    return torch.compile(form, dynamic=False, backend='eager' if setting.tiny else 'inductor')
