"""The page and the notebook card: Jinja templates beside this file, everything from telemetry escaped.

The page asks the network for nothing, and its Content-Security-Policy forbids it to: a script runs only if its digest
is listed in the head.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .answer import answer, clock, grouped, name_of, percent
from .environment import environment
from .sections import Drawing, build

if TYPE_CHECKING:
    import jinja2

    from ..analysis.case import Case
    from ..analysis.ranking import Ranking
    from ..graph.dependency_graph import DependencyGraph

_CARD_CANDIDATES = 5
_PAGE_CANDIDATES = 6


def write_report(ranking: Ranking, case: Case, graph: DependencyGraph | None, path: Path | str) -> Path:
    """Write the page to ``path`` and return it; an existing file is replaced."""
    target = Path(path)
    target.write_text(to_html(ranking, case, graph), encoding="utf-8")
    return target


def to_html(ranking: Ranking, case: Case, graph: DependencyGraph | None = None) -> str:
    """Return the page: one HTML text of about 5 MB (plotly.js is in it), the same for the same input.

    Without a ``graph`` the service map is left out.
    """
    from plotly.offline import get_plotlyjs

    from .. import __version__

    drawn = build(ranking, case, graph)
    scripts = [get_plotlyjs(), _asset("report.js")] if drawn.drawings else []
    return (
        _environment()
        .get_template("report.html")
        .render(
            told=answer(ranking, case),
            ranking=ranking,
            candidates=ranking.candidates[:_PAGE_CANDIDATES],
            strongest=_strongest(ranking),
            page=drawn,
            version=__version__,
            policy=_policy(scripts),
            scripts=scripts,
            css=_asset("report.css"),
        )
    )


def to_card(ranking: Ranking, case: Case | None = None) -> str:
    """Return the answer as an HTML fragment without scripts, as notebooks show it."""
    return (
        _environment()
        .get_template("card.html")
        .render(
            told=answer(ranking, case),
            ranking=ranking,
            candidates=ranking.candidates[:_CARD_CANDIDATES],
            strongest=_strongest(ranking),
            css=_asset("report.css"),
        )
    )


def _strongest(ranking: Ranking) -> float:
    """Return the score that fills an evidence bar."""
    scores = [abs(e.score) for c in ranking.candidates for e in (*c.evidence_for, *c.evidence_against)]
    return max(scores, default=0.0) or 1.0


def _policy(scripts: list[str]) -> str:
    digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests) or "'none'"
    # plotly.js writes style elements and attributes; no style can leave the page, since nothing may be fetched.
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


@cache
def _asset(name: str) -> str:
    return files("hypocenter.report").joinpath(name).read_text(encoding="utf-8")


@cache
def _environment() -> jinja2.Environment:
    pages = environment("hypocenter.report")
    pages.filters.update(percent=percent, clock=clock, name_of=name_of, grouped=grouped, json_block=_json_block)
    return pages


def _json_block(drawing: Drawing) -> Any:
    """Return a figure as JSON that cannot end the script element it stands in."""
    import markupsafe

    text: str = drawing.figure.to_json()
    for character in "<>&\N{LINE SEPARATOR}\N{PARAGRAPH SEPARATOR}":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return markupsafe.Markup(text)
