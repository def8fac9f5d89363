"""What shape and colour say on a map."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import plotly.graph_objects as go

from .look import INK, PAPER

QUIET = "#93a2b1"
_UNKNOWN = "#a79db0"
SHAPES = {
    "service": "circle",
    "database": "square",
    "cache": "diamond",
    "messaging": "hexagon",
    "external": "triangle-up",
    "entry": "circle-open-dot",
    "unknown": "circle-x-open",
}
# What became of a call from one graph to another, the more telling the later.
CHANGES = ("as before", "rate", "better", "worse", "vanished", "appeared")
# Darker as it gets worse (and lighter on dark paper), so that print and colour-blind eyes tell it; near ColorBrewer's
# YlOrBr and YlGnBu.
_CLASSES: dict[str, tuple[str, tuple[tuple[float, str, str], ...]]] = {
    "errors": (
        "error_ratio",
        (
            (0.0, "no errors", QUIET),
            (0.01, "errors up to 1 %", "#c08410"),
            (0.05, "errors up to 5 %", "#b75d06"),
            (0.2, "errors up to 20 %", "#a23a06"),
            (math.inf, "errors over 20 %", "#7f2704"),
        ),
    ),
    "latency": (
        "p95_s",
        (
            (0.01, "p95 up to 10 ms", "#6fae93"),
            (0.05, "p95 up to 50 ms", "#3f9e9b"),
            (0.2, "p95 up to 200 ms", "#2b7fae"),
            (1.0, "p95 up to 1 s", "#2c5fa8"),
            (math.inf, "p95 over 1 s", "#17205c"),
        ),
    ),
    "change": (
        "change",
        (
            (0.0, "as before", QUIET),
            (1.0, "another rate", "#6b7682"),
            (2.0, "faster, or fewer errors", "#2f93b3"),
            (3.0, "slower, or more errors", "#cc4c02"),
            (4.0, "vanished (dotted)", "#7f2704"),
            (5.0, "appeared (dashed)", "#17205c"),
        ),
    ),
}


@dataclass(frozen=True, slots=True)
class Scale:
    """Classes of a measure (a column of nodes and edges), the mildest first: upper limit, name, colour."""

    measure: str
    classes: tuple[tuple[float, str, str], ...]

    @classmethod
    def named(cls, name: str) -> Scale:
        """Return the scale of ``errors``, ``latency`` or ``change``."""
        return cls(*_CLASSES[name])

    def number(self, value: float) -> int:
        """Return the class of a value, -1 for NaN."""
        if math.isnan(value):
            return -1
        return next(i for i, (limit, *_) in enumerate(self.classes) if value <= limit)

    def dash(self, number: int) -> str:
        """Return how lines of a class are drawn: dotted what is unknown or gone, dashed what is new."""
        if self.measure == "change" and number >= 0:
            return {"vanished": "dot", "appeared": "dash"}.get(CHANGES[number], "solid")
        return "dot" if number < 0 else "solid"

    def colour(self, number: int) -> str:
        """Return the colour of a class."""
        return _UNKNOWN if number < 0 else self.classes[number][2]


def legend(kinds: set[str], scale: Scale, numbers: set[int]) -> Iterable[go.Scatter]:
    """Yield the legend's entries for the kinds of nodes and the classes that are on the map."""
    for kind, shape in SHAPES.items():
        if kind in kinds:
            fill = INK if "open" in shape else PAPER
            yield _entry(kind, symbol=shape, color=fill, line={"color": INK, "width": 1.5})
    for number, (_, name, colour) in enumerate(scale.classes):
        if number in numbers:
            yield _entry(name, symbol="square", color=colour)
    if -1 in numbers:
        yield _entry("unknown", symbol="square", color=_UNKNOWN)
    yield _entry("line width: calls/s", symbol="line-ew", line={"color": QUIET, "width": 4})


def _entry(name: str, **marker: object) -> go.Scatter:
    return go.Scatter(x=[None], y=[None], mode="markers", name=name, marker={"size": 11, **marker}, hoverinfo="skip")
