"""Checkpoints of MMEngine without their code: a pickle calls nothing but what stands here.

MMEngine's own list of allowed names holds ``getattr``, numpy's and its own classes. From these a
crafted file reaches any function, so they are replaced by stand-ins that only keep data; what they
stand for is made from this data once the file is read.
"""

import re
from collections.abc import Callable
from pickle import UnpicklingError
from typing import Any, BinaryIO

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.optim import OneCycleParamScheduler

_ADVICE = (
    'If you trust its source, convert it once: content = torch.load(file, weights_only=False), '
    "then torch.save({'state_dict': weights}, new_file) with the weights in it "
    '(docs/model_files.md).'
)
# Begins every pickle of protocol 2 or later.
_PICKLE = b'\x80'


def load_pickle(file: str | BinaryIO, name: str, map_location: Any = 'cpu') -> Any:
    """Load what ``torch.save`` wrote, and run no code of it.

    Tensors, plain values, numpy arrays and numbers, and MMEngine's ``HistoryBuffer`` are read.

    Args:
        file: Path, or an open file.
        name: What to call it in messages.
        map_location: As of :func:`torch.load`.

    Raises:
        ValueError: If the file asks for anything else, or is damaged.
    """
    _require_kind(file, name)
    try:
        with torch.serialization.safe_globals(_ALLOWED):
            content = torch.load(file, map_location=map_location, weights_only=True)
        return _restored(content, set())
    except FileNotFoundError:
        raise
    except Exception as error:  # damaged bytes raise nearly everything
        raise unreadable(name, error) from error


def _require_kind(file: str | BinaryIO, name: str) -> None:
    """Refuse files of another kind, so that nobody is advised to load one without safety."""
    if isinstance(file, str):
        with open(file, 'rb') as opened:
            head = opened.read(2)
    else:
        head = file.read(2)
        file.seek(0)
    if head and not b'PK'.startswith(head) and head[:1] != _PICKLE:
        raise ValueError(
            f'{name} is no checkpoint: it is neither a zip file nor a pickle, as torch.save writes.'
        )


def unreadable(name: str, error: Exception) -> ValueError:
    """What to tell a user whose file was refused, or cannot be read.

    Args:
        name: The file.
        error: What ``torch.load(weights_only=True)`` raised.
    """
    # timm raises errors of its own.
    if wanted := _wanted(str(error)):
        return ValueError(
            f'{name} was not loaded: it asks for {wanted}, which is neither a weight nor what '
            f'MMEngine saves beside the weights, and could run any code. {_ADVICE}'
        )
    if not isinstance(error, UnpicklingError):
        return ValueError(
            f'{name} is no readable checkpoint: {type(error).__name__}: {_last_sentence(error)}'
        )
    return ValueError(
        f'{name} was not loaded: it is damaged, or a pickle of another kind, which could run any '
        f'code. {_ADVICE} ({_last_sentence(error)})'
    )


class _DataType:
    """Stands for ``numpy.dtype``: numbers and fixed strings, no objects."""

    def __init__(self, code: str, *_: object) -> None:
        if not re.fullmatch(r'[biufcUS]\d+', code):
            raise UnpicklingError(f'numpy data of type {code!r} is not read')
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple) -> None:
        order = state[1]
        if order not in ('<', '>', '|', '=') or any(part is not None for part in state[2:5]):
            raise UnpicklingError(f'numpy data of type {state!r} is not read')
        self.dtype = self.dtype.newbyteorder(order)


class _Array:
    """Stands for ``numpy.ndarray``."""

    def __setstate__(self, state: tuple) -> None:
        _, shape, kind, by_columns, data = state
        values = np.frombuffer(data, kind.dtype)
        self.array = values.reshape(shape, order='F' if by_columns else 'C').copy('K')


class _History:
    """Stands for MMEngine's ``HistoryBuffer``."""

    def __setstate__(self, state: dict) -> None:
        self.state = state

    def restored(self) -> HistoryBuffer:
        parts = [_restored(self.state[key], set()) for key in ('_log_history', '_count_history')]
        return HistoryBuffer(*parts, max_length=self.state['max_length'])


def _new_array(kind: type, *_: object) -> _Array:
    if kind is not _Array:
        raise UnpicklingError(f'an array of {kind} is not read')
    return _Array()


def _scalar(kind: _DataType, data: bytes) -> np.generic:
    return np.frombuffer(data, kind.dtype, count=1)[0]


class _OneCycle:
    """Stands for MMEngine's one-cycle schedule, whose state names the curve that it follows."""

    CURVES = ('_annealing_cos', '_annealing_linear')


def _attribute(owner: object, name: str) -> Callable | None:
    """Stands for ``getattr``: a schedule has curves; methods of ``HistoryBuffer`` are not read."""
    if owner is _OneCycle and name in _OneCycle.CURVES:
        return getattr(OneCycleParamScheduler, name)
    if owner is not _History:
        raise UnpicklingError(f'GLOBAL builtins.getattr (of {owner}, {name!r}) was not')
    return None


# Names in files, of numpy 1 and 2, and what they get.
_ALLOWED: list = [
    (_DataType, 'numpy.dtype'),
    (_Array, 'numpy.ndarray'),
    (_History, 'mmengine.logging.history_buffer.HistoryBuffer'),
    (_OneCycle, f'{OneCycleParamScheduler.__module__}.OneCycleParamScheduler'),
    (_attribute, 'builtins.getattr'),
    *((_new_array, f'numpy.{core}.multiarray._reconstruct') for core in ('core', '_core')),
    *((_scalar, f'numpy.{core}.multiarray.scalar') for core in ('core', '_core')),
]


def _restored(value: Any, seen: set[int]) -> Any:
    """Put the real objects where the stand-ins are; dicts and lists are changed in place."""
    if isinstance(value, _Array):
        return value.array
    if isinstance(value, _History):
        return value.restored()
    if isinstance(value, tuple) and type(value) is tuple:
        return tuple(_restored(item, seen) for item in value)
    if isinstance(value, dict | list) and id(value) not in seen:
        seen.add(id(value))
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            value[key] = _restored(item, seen)
    return value


def _wanted(message: str) -> str | None:
    """The name that a refused file asks for, from torch's message."""
    patterns = (
        r'GLOBAL (\S+)',
        r'Unsupported globals: ([^\s,]+)',
        r'reduce for unrecognized function (.+)',
        r'but got (<class .+?>)',
    )
    for pattern in patterns:
        if found := re.search(pattern, message):
            return found[1].rstrip('.')
    return None


def _last_sentence(error: Exception) -> str:
    """What torch says happened; its advice, to load without safety, is left out."""
    text = str(error).split('WeightsUnpickler error: ')[-1].strip()
    return text.splitlines()[0] if text else 'no details'
