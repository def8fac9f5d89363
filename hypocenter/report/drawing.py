"""A figure of a page, with its words and the same as a table."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from .environment import asset
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


def drawing_scripts() -> list[str]:
    """Return the scripts that draw the figures of a page: plotly.js and what dresses them for the page's scheme."""
    from plotly.offline import get_plotlyjs

    from ..figures.look import ON_DARK

    return [get_plotlyjs(), f"const ON_DARK = {json.dumps(ON_DARK)};\n{asset('report.js')}"]
