"""Fills the template in for an incident and writes it as a notebook that was never run."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..tracer.window import to_rfc3339

if TYPE_CHECKING:
    import jinja2

    from ..incident import RankedIncident
    from ..session import Session

_MINUTE_NS = 60 * 10**9
_CELL = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def write_notebook(session: Session, incident: RankedIncident, path: Path | str, symptom: str | None = None) -> Path:
    """Write a notebook that asks the session's store about an incident to ``path`` and return it.

    Times that were relative are written as they were meant now; ``symptom`` is what the user said, if anything.
    """
    target = Path(path)
    target.write_text(json.dumps(_notebook(_filled(session, incident, symptom, target)), indent=1) + "\n", "utf-8")
    return target


def _filled(session: Session, incident: RankedIncident, symptom: str | None, target: Path) -> str:
    from .. import __version__
    from ..report.answer import answer, split_ns, subject
    from ..report.escape import for_markdown as text
    from ..report.traffic import bounds, exemplary_traces

    ranking, case = incident.ranking, incident.case
    told, split = answer(ranking, case), split_ns(ranking, case)
    first = ranking.candidates[0] if ranking.candidates else None
    start, end = bounds(case) or (split - 10 * _MINUTE_NS, split + 10 * _MINUTE_NS)
    # A window needs room on both sides of the onset.
    split_at = min(max(split, start + 1), end - 1)
    noticed = to_rfc3339(case.alert_ns)
    asked: list[tuple[str, str]] = [("at", noticed), *([("symptom", symptom)] if symptom else [])]
    asked += [("ranker", ranking.ranker)] if ranking.ranker != "hypocenter" else []
    service = first.service if first else ""
    speakers = set(case.telemetry.table("spans")["service"].unique().to_pylist())
    measured = set(session.store.read("series", columns=["service"])["service"].unique().to_pylist())

    traces = exemplary_traces(case, subject(first)[0], split) if first and ranking.outcome == "ranked" else (None, None)

    return (
        _environment()
        .get_template("template.md")
        .render(
            headline=text(told.headline),
            certainty=text(told.certainty),
            since=text(told.since),
            version=__version__,
            noticed=noticed if case.noticed == "the alert" else "",
            place=text(str(session.store)),
            store=session.store.place,
            asked=asked,
            has_spans=bool(speakers),
            has_path=any(len(c.path) > 1 for c in ranking.candidates[:1]),
            has_traces=all(trace is not None for trace in traces),
            service_has_spans=service in speakers,
            has_metrics=bool(service) and service in measured,
            has_objects=session.store.bounds("objects") is not None,
            service=service,
            title_service=text(service),
            before=(to_rfc3339(start), to_rfc3339(split_at)),
            after=(to_rfc3339(split_at), to_rfc3339(end)),
            report=str(target.with_suffix(".html").name),
        )
    )


def _notebook(text: str) -> dict[str, Any]:
    """Return the cells of a Markdown text whose blocks of Python are code, as a notebook of format 4.5."""
    cells: list[dict[str, Any]] = []
    for number, part in enumerate(_CELL.split(text)):
        source = part.strip("\n")
        if source:
            kind: dict[str, Any] = {"cell_type": "code", "execution_count": None, "outputs": []} if number % 2 else {}
            cells.append({"cell_type": "markdown", "metadata": {}, "source": source} | kind)
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number:02d}"
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


@cache
def _environment() -> jinja2.Environment:
    import jinja2

    made = jinja2.Environment(
        loader=jinja2.PackageLoader("hypocenter.notebook", ""),
        # The text is Markdown and Python, escaped by what is filled in; no page is made of it.
        autoescape=False,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["code"] = repr
    return made
