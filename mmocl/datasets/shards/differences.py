from itertools import zip_longest
from typing import Any

_ABSENT = object()
# Lists of names would fill the screen.
_MOST_CHARACTERS = 90


def differences(cached: Any, wanted: Any, path: str = '') -> list[str]:
    """Say where two nested values differ.

    Args:
        cached: What a cache holds.
        wanted: What is wanted of it.
        path: What the values are called; parts of dicts and lists add to it.

    Returns:
        One sentence a difference, ``'backbone.norm is True in the cache, but False is wanted'``.
    """
    if isinstance(cached, dict) and isinstance(wanted, dict):
        keys: list[Any] = list(dict.fromkeys([*cached, *wanted]))
        pairs = [(k, cached.get(k, _ABSENT), wanted.get(k, _ABSENT)) for k in keys]
        prefix = f'{path}.' if path else ''
        return [line for k, a, b in pairs for line in differences(a, b, f'{prefix}{k}')]
    if cached is wanted or cached == wanted:
        return []
    there, needed = _short(cached), _short(wanted)
    if isinstance(cached, list) and isinstance(wanted, list):
        both = enumerate(zip_longest(cached, wanted, fillvalue=_ABSENT))
        lines = [line for i, (a, b) in both for line in differences(a, b, f'{path}[{i}]')]
        if len(cached) == len(wanted):
            return lines
        if there == needed:
            return lines[:1]
    elif there == needed:
        # Long texts that begin alike.
        both_texts = zip(repr(cached), repr(wanted), strict=False)
        start = next((i for i, (a, b) in enumerate(both_texts) if a != b), 0)
        there, needed = (f'...{_cut(repr(value)[start:])}' for value in (cached, wanted))
    return [f'{path} is {there} in the cache, but {needed} is wanted']


def _short(value: Any) -> str:
    if value is _ABSENT:
        return 'absent'
    if isinstance(value, list) and len(value) > 8:
        return f'a list of {len(value)}'
    return _cut(repr(value))


def _cut(text: str) -> str:
    return text if len(text) <= _MOST_CHARACTERS else f'{text[:_MOST_CHARACTERS]}...'
