"""Time, memory and counted FLOP of calls that are run side by side."""

import gc
import math
import statistics
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from benchmarks.peak_memory import track
from benchmarks.products import count_flop

Call = Callable[[], object]
# A shorter call is repeated until one sample takes about so long.
SAMPLE_SECONDS = 0.05


@dataclass(frozen=True)
class Setting:
    """How a benchmark is run.

    Args:
        device: ``'cpu'`` or ``'cuda'``.
        tiny: Shapes that take next to no time; figures mean nothing, but everything is run.
        repeats: Samples of every call.
        threads: Threads of PyTorch.
        seed: Seed of weights and inputs.
        compile: Also measure compiled forms where these are not measured anyway.
    """

    device: str = 'cpu'
    tiny: bool = False
    repeats: int = 5
    threads: int = 1
    seed: int = 0
    compile: bool = False


def compare(
    calls: Mapping[str, Call],
    setting: Setting,
    reference: str | None = None,
    images: int | None = None,
    memory: bool = True,
    flop: bool = True,
    compiled: Collection[str] = (),
) -> list[dict[str, Any]]:
    """Measure calls in turn, again and again, so that a slow moment of the machine meets all.

    Each is warmed up first. A ratio is that of two samples of one turn; samples of short calls
    are means over several runs.

    Args:
        calls: What to run, by the names of the forms.
        setting: Device, repeats.
        reference: The form that the others are compared with; none if not given.
        images: Images that a call works on.
        memory: Measure the peak of memory, see :func:`peak_bytes`.
        flop: Count FLOP, see :mod:`benchmarks.products`.
        compiled: Forms whose FLOP, and on a CPU whose memory, cannot be seen from outside: None.

    Returns:
        A row a form: ``form``; with a reference ``faster``, ``less_memory`` and ``fewer_flop``, its
        value over that of the form; ``seconds``, ``images_per_second``, ``peak_bytes``, ``flop``.
        Times and their ratios have ``median``, ``min`` and ``max``.

    Raises:
        ValueError: If there is no call of the reference's name.
    """
    if reference is not None and reference not in calls:
        raise ValueError(f'reference must be one of {list(calls)}, got {reference!r}.')
    runs = {}
    for name, call in calls.items():
        for _ in range(1 if setting.device == 'cpu' else 3):
            call()  # The first one may also compile.
        runs[name] = _runs_a_sample(call, setting)
    if not setting.tiny:
        gc.collect()
    samples: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(setting.repeats):
        # Back and forth, so that none always comes behind the same one.
        for name, call in list(calls.items())[:: -1 if turn % 2 else 1]:
            samples[name].append(seconds(call, setting.device, runs[name]))
    peaks, counts = dict.fromkeys(calls), dict.fromkeys(calls)
    for name, call in calls.items():
        hidden = name in compiled
        if memory and not (hidden and setting.device == 'cpu'):
            peaks[name] = peak_bytes(call, setting.device)
        if flop and not hidden:
            counts[name] = count_flop(call)
    rows = []
    for name in calls:
        row: dict[str, Any] = {'form': name}
        if reference is not None:
            pairs = zip(samples[reference], samples[name], strict=True)
            row['faster'] = spread(other / mine for other, mine in pairs)
            if memory:
                row['less_memory'] = _ratio(peaks[reference], peaks[name])
            if flop:
                row['fewer_flop'] = _ratio(counts[reference], counts[name])
        row['seconds'] = spread(samples[name])
        if images is not None:
            row['images_per_second'] = spread(images / value for value in samples[name])
        row |= {'peak_bytes': peaks[name]} if memory else {}
        row |= {'flop': counts[name]} if flop else {}
        rows.append(row)
    return rows


def spread(values: Iterable[float]) -> dict[str, float]:
    """Median, smallest and largest of some values."""
    values = list(values)
    return {'median': statistics.median(values), 'min': min(values), 'max': max(values)}


def seconds(call: Call, device: str, runs: int = 1) -> float:
    """Mean time of some runs of a call, by events on a GPU."""
    if device == 'cpu':
        start = time.perf_counter()
        for _ in range(runs):
            call()
        return (time.perf_counter() - start) / runs
    start_event, end_event = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    start_event.record()
    for _ in range(runs):
        call()
    end_event.record()
    torch.cuda.synchronize()
    return start_event.elapsed_time(end_event) / 1000 / runs


def peak_bytes(call: Call, device: str) -> int:
    """Peak of the memory that a call takes on top of what is there.

    On a CPU the live tensors that operators made (:mod:`benchmarks.peak_memory`), without what
    these need inside; on a GPU what PyTorch's allocator gave.
    """
    if device == 'cpu':
        return track(call).peak
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    call()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def matmul_peak(
    setting: Setting, dtype: torch.dtype = torch.float32, size: int | None = None
) -> float:
    """FLOP per second of a large square matrix product: what the device can give, measured.

    Args:
        setting: Device, repeats; the fastest of at least five samples counts.
        dtype: Type of both matrices.
        size: Rows and columns; enough to fill the device if not given.
    """
    if size is None:
        size = 64 if setting.tiny else 2048 if setting.device == 'cpu' else 8192
    a, b = (torch.randn(size, size, device=setting.device, dtype=dtype) for _ in range(2))
    out = torch.empty_like(a)
    torch.mm(a, b, out=out)
    runs = _runs_a_sample(lambda: torch.mm(a, b, out=out), setting)
    repeats = 1 if setting.tiny else max(5, setting.repeats)
    times = (seconds(lambda: torch.mm(a, b, out=out), setting.device, runs) for _ in range(repeats))
    return 2 * size**3 / min(times)


def _runs_a_sample(call: Call, setting: Setting) -> int:
    if setting.tiny:
        return 1
    return max(1, math.ceil(SAMPLE_SECONDS / seconds(call, setting.device)))


def _ratio(reference: int | None, value: int | None) -> float | None:
    return reference / value if reference and value else None
