"""A figure of a page, with its words and the same as a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .links import Link


@dataclass(frozen=True, slots=True)
class Drawing:
    """A figure; ``label`` says in words what it shows, ``columns`` and ``rows`` are the same as a table."""

    name: str
    label: str
    caption: str
    figure: Any
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    links: tuple[Link, ...] = ()
