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
    if isinstance(cached, list) and isinstance(wanted, list) and len(cached) == len(wanted):
        both = enumerate(zip(cached, wanted, strict=True))
        return [line for i, (a, b) in both for line in differences(a, b, f'{path}[{i}]')]
    if cached is wanted or cached == wanted:
        return []
    return [f'{path} is {_short(cached)} in the cache, but {_short(wanted)} is wanted']


def _short(value: Any) -> str:
    if value is _ABSENT:
        return 'absent'
    text = f'a list of {len(value)}' if isinstance(value, list) and len(value) > 8 else repr(value)
    return text if len(text) <= _MOST_CHARACTERS else f'{text[:_MOST_CHARACTERS]}...'
