"""Which images are shown: the worst, the best, and some as they come."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Choice:
    """An image of the test data: its position, what it is labelled with, and what was recorded."""

    index: int
    labels: list[str]
    record: Mapping[str, Any] | None = None


def choose(
    num_images: int, wanted: int, records: Sequence[Mapping[str, Any]] | None, score: str | None
) -> list[Choice]:
    """Choose images: a third of the worst, a third of the best, and the first of the others.

    Args:
        num_images: Length of the test data.
        wanted: How many to choose.
        records: Scores of its images, in its order (None: there are none, so take the first).
        score: The score of the records that decides.

    Returns:
        The worst ones first, then the best ones, each the most extreme first, then the others.
    """
    wanted = min(wanted, num_images)
    if records is None or score is None:
        return [Choice(index, []) for index in range(wanted)]
    scored = [(i, r[score]) for i, r in enumerate(records) if _known(r.get(score))]
    # Ties in the order of the data; of few images none is both.
    order = [i for i, _ in sorted(scored, key=lambda pair: pair[1])]
    num_worst = min(wanted // 3, (len(order) + 1) // 2)
    num_best = min(wanted // 3, len(order) - num_worst)
    best = [i for i, _ in sorted(scored, key=lambda pair: -pair[1])]
    worst = order[:num_worst]
    best = [i for i in best if i not in worst][:num_best]
    chosen = [Choice(i, [f'worst {n}'], records[i]) for n, i in enumerate(worst, start=1)]
    chosen += [Choice(i, [f'best {n}'], records[i]) for n, i in enumerate(best, start=1)]
    taken = {*worst, *best}
    rest = [i for i in range(num_images) if i not in taken][: wanted - len(chosen)]
    return chosen + [Choice(i, [], records[i]) for i in rest]


def how_chosen(loader: str, choices: Sequence[Choice], score: str) -> str:
    """Say it; ``score`` is empty for those that were taken as they come."""
    if not score:
        text = f'The first {len(choices)} images of {loader}.'
    else:
        text = (
            f'The worst and the best images of {loader} by {score}, then the first ones of the '
            'others in the order of the data.'
        )
    return (
        f'{text} Slots that start at random are drawn anew for this page, so that pictures may '
        'differ from what was scored.'
    )


def _known(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
