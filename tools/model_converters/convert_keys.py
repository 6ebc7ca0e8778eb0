"""Rename the weights of a released checkpoint by rules; none is dropped without a reason."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from torch import Tensor


class Rename(NamedTuple):
    """A weight of mmocl.

    Attributes:
        old: Regular expression of the whole released name.
        new: Name in mmocl, with groups of ``old``; or a function of the match.
        change: Applied to the weight.
    """

    old: str
    new: str | Callable[[re.Match[str]], str]
    change: Callable[[Tensor], Tensor] | None = None


class Drop(NamedTuple):
    """A weight that mmocl does not need.

    Attributes:
        old: Regular expression of the whole released name.
        why: The reason.
    """

    old: str
    why: str


class Converted(NamedTuple):
    """Result of a converter.

    Attributes:
        state: Weights by their names in mmocl.
        dropped: Why a released name was dropped.
    """

    state: dict[str, Tensor]
    dropped: dict[str, str]


def convert_keys(state: Mapping[str, Tensor], rules: Sequence[Rename | Drop]) -> Converted:
    """Apply the first rule that fits to every weight.

    Raises:
        ValueError: If no rule fits a name (all such are named), or two weights get the same name.
    """
    new: dict[str, Tensor] = {}
    dropped: dict[str, str] = {}
    origin: dict[str, str] = {}
    unknown = []
    for key, value in state.items():
        rule, match = _find(key, rules)
        if rule is None or match is None:
            unknown.append(key)
        elif isinstance(rule, Drop):
            dropped[key] = rule.why
        else:
            name = rule.new(match) if callable(rule.new) else match.expand(rule.new)
            if name in new:
                raise ValueError(f'Both {origin[name]!r} and {key!r} would become {name!r}.')
            new[name] = value if rule.change is None else rule.change(value)
            origin[name] = key
    if unknown:
        raise ValueError(
            f'{len(unknown)} of {len(state)} keys of the checkpoint are unknown: '
            f'{", ".join(sorted(unknown))}.'
        )
    return Converted(new, dropped)


def _find(
    key: str, rules: Sequence[Rename | Drop]
) -> tuple[Rename | Drop | None, re.Match[str] | None]:
    for rule in rules:
        match = re.fullmatch(rule.old, key)
        if match is not None:
            return rule, match
    return None, None
