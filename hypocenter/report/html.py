"""The page and the notebook card: Jinja templates beside this file, everything from telemetry escaped.

The page asks the network for nothing, and its Content-Security-Policy forbids it to: a script runs only if its digest
is listed in the head.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from ..tracer.store.places import path_of
from .answer import answer, clock, grouped, name_of, percent
from .drawing import drawing_scripts
from .environment import environment, json_block, policy
from .sections import build

if TYPE_CHECKING:
    import jinja2

    from ..analysis.case import Case
    from ..analysis.ranking import Ranking
    from ..graph.dependency_graph import DependencyGraph

_CARD_CANDIDATES = 5
_PAGE_CANDIDATES = 6


def write_report(
    ranking: Ranking,
    case: Case,
    graph: DependencyGraph | None,
    path: Path | str,
    links: Mapping[str, str] | None = None,
) -> Path:
    """Write the page to ``path`` and return it, Markdown where it ends with ``.md``; an existing file is replaced."""
    target = path_of(path)
    if target.suffix == ".md":
        from .markdown import to_markdown

        target.write_text(to_markdown(ranking, case, links), encoding="utf-8")
        return target
    target.write_text(to_html(ranking, case, graph, links), encoding="utf-8")
    return target


def to_html(
    ranking: Ranking, case: Case, graph: DependencyGraph | None = None, links: Mapping[str, str] | None = None
) -> str:
    """Return the page: one HTML text of about 5 MB (plotly.js is in it), the same for the same input.

    Without a ``graph`` the service map is left out. ``links`` are URL templates (`hypocenter.report.links`).
    """
    drawn = build(ranking, case, graph, links)
    scripts = drawing_scripts() if drawn.drawings else []
    return (
        pages()
        .get_template("report.html")
        .render(
            told=answer(ranking, case),
            ranking=ranking,
            candidates=ranking.candidates[:_PAGE_CANDIDATES],
            strongest=_strongest(ranking),
            page=drawn,
            policy=policy(scripts),
            scripts=scripts,
        )
    )


def to_card(ranking: Ranking, case: Case | None = None) -> str:
    """Return the answer as an HTML fragment without scripts, as notebooks show it."""
    return (
        pages()
        .get_template("card.html")
        .render(
            told=answer(ranking, case),
            ranking=ranking,
            candidates=ranking.candidates[:_CARD_CANDIDATES],
            strongest=_strongest(ranking),
        )
    )


def _strongest(ranking: Ranking) -> float:
    """Return the score that fills an evidence bar."""
    scores = [abs(e.score) for c in ranking.candidates for e in (*c.evidence_for, *c.evidence_against)]
    return max(scores, default=0.0) or 1.0


@cache
def pages() -> jinja2.Environment:
    """Return the environment of the pages in this folder, with the words they share."""
    made = environment("hypocenter.report")
    made.filters.update(percent=percent, clock=clock, name_of=name_of, grouped=grouped, json_block=json_block)
    return made
