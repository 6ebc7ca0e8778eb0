"""What is on a report page: gathered from files and from the model, before anything is drawn."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Missing:
    """Something the page could not show: why, and the ``command`` that would give it, if any."""

    what: str
    why: str
    command: str | None = None


@dataclass(frozen=True)
class Fact:
    """One line of the summary."""

    name: str
    value: str


@dataclass(frozen=True)
class Difference:
    """A setting of the run that is not that of the shipped config; None where there is none."""

    key: str
    shipped: str | None
    run: str | None


@dataclass(frozen=True)
class Curve:
    """A logged value over iterations; None where it was not finite."""

    name: str
    steps: list[int]
    values: list[float | None]


@dataclass(frozen=True)
class Chart:
    """Curves that share a vertical axis; ``shown`` are the names of those drawn at first."""

    title: str
    curves: list[Curve]
    shown: list[str]


@dataclass(frozen=True)
class Score:
    """A mean and its interval, as shares of one; None where undefined or not known."""

    mean: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class ScoreTable:
    """Scores under one protocol: by name, then by mask source."""

    title: str
    caption: str
    sources: list[str]
    rows: dict[str, dict[str, Score]]


@dataclass(frozen=True)
class SlotInfo:
    """A slot of an image: whether it counts, and its share of the mixture, if there is one."""

    active: bool
    weight: float | None = None


@dataclass(frozen=True)
class GalleryImage:
    """One image, its pictures as data URIs.

    The pictures of ids are grey PNGs; a pixel of id i has level i times ``slot_level``, or
    ``object_level`` in ``truth``, where id 0 is what is no object. The id after those of all slots
    or objects is nobody's: not annotated, or without an active slot. ``steps`` is the attention of
    every update; ``no_truth`` says why true objects were left out.
    """

    name: str
    labels: list[str]
    image: str
    size: tuple[int, int]
    steps: list[str]
    slots: list[SlotInfo]
    slot_level: int
    masks: str | None = None
    truth: str | None = None
    no_truth: str = ''
    recon: str | None = None
    object_level: int = 1
    objects: list[str] = field(default_factory=list)
    scores: dict[str, dict[str, float | None]] = field(default_factory=dict)


@dataclass(frozen=True)
class CollapseRow:
    """A sign of collapse: its limit and its value by mask source."""

    name: str
    meaning: str
    remedy: str
    above: float
    values: dict[str, float | None]


@dataclass(frozen=True)
class Collapse:
    """Signs of collapse, what they say in words, and which images they are of."""

    where: str
    rows: list[CollapseRow]
    found: list[str]


@dataclass(frozen=True)
class Report:
    """All of a page. ``missing`` is by section: summary, curves, scores, gallery, collapse."""

    title: str
    subtitle: str
    facts: list[Fact]
    config: str
    differences: list[Difference]
    charts: list[Chart]
    curves_note: str
    tables: list[ScoreTable]
    other_scores: dict[str, float | None]
    scores_note: str
    images: list[GalleryImage]
    gallery_note: str
    colors: list[str]
    collapse: Collapse | None
    missing: dict[str, list[Missing]]
    made_by: dict[str, Any]
