"""Telemetry in a terminal: even columns, durations, and names that cannot steer it."""

from __future__ import annotations

import math
import shutil
import sys
from collections.abc import Mapping, Sequence

from ..legible import duration, shortened, visible

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


def table(columns: Mapping[str, Sequence[str]], *, left: int, spare: Sequence[str], width: int | None) -> list[str]:
    """Return columns as lines below their names, the first ``left`` of them flush left.

    Where lines are longer than ``width`` cells, columns are left out in the order of ``spare`` until they fit, and a
    last line names them.
    """
    gone = too_many(columns, spare=spare, width=width)
    left -= sum(name in gone for name in list(columns)[:left])
    shown = [name for name in columns if name not in gone]
    lines = aligned([shown, *zip(*(columns[name] for name in shown), strict=True)], left=left)
    return [*lines, *([left_out(gone)] if gone else [])]


def too_many(
    columns: Mapping[str, Sequence[str]], *, spare: Sequence[str], width: int | None, gap: int = 2
) -> list[str]:
    """Return which columns to leave out, in the order of ``spare``, so that lines fit ``width`` cells."""
    widths = {name: max(map(len, (name, *cells))) + gap for name, cells in columns.items()}
    gone: list[str] = []
    for name in (name for name in spare if name in columns):
        if width is None or sum(widths.values()) - gap <= width:
            break
        del widths[name]
        gone.append(name)
    return gone


def left_out(names: Sequence[str]) -> str:
    """Return the sentence about columns that did not fit."""
    return f"left out to fit: {', '.join(names)} (-o json has all)"


def terminal_width() -> int | None:
    """Return how many cells a line of standard output has, None where it is no terminal."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def milliseconds(value_s: float) -> str:
    """Return ``12.3 ms``; ``-`` for an unknown value."""
    return "-" if math.isnan(value_s) else duration(value_s)


def printable(name: str) -> str:
    """Return a name without characters that steer a terminal, cut where one name would widen the lines of all."""
    return visible(shortened(name, _LONGEST_NAME))
