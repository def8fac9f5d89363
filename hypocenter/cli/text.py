"""Telemetry in a terminal: even columns, durations, and names that cannot steer it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..legible import shortened, visible

_LONGEST_NAME = 200


def aligned(rows: Sequence[Sequence[str]], *, left: int) -> list[str]:
    """Return the rows as lines of even columns, the first ``left`` of them flush left."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(w) if i < left else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def milliseconds(value_s: float) -> str:
    """Return ``12.3 ms``; ``-`` for an unknown value."""
    if math.isnan(value_s):
        return "-"
    return f"{value_s * 1e3:.3g} ms" if abs(value_s) < 1 else f"{value_s:.3g} s"


def printable(name: str) -> str:
    """Return a name without characters that steer a terminal, cut where one name would widen the lines of all."""
    return visible(shortened(name, _LONGEST_NAME))
