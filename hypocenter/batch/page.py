"""The page over all incidents of a period: a table each of incidents, offenders and edges, the coverage as bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from ..report.answer import percent
from ..report.environment import environment
from ..tracer.window import Window

_EDGES_SHOWN = 20
_OFFENDERS_SHOWN = 10


def page_of(window: Window, tables: Mapping[str, pd.DataFrame], failed: Sequence[str]) -> str:
    """Return the page as HTML; everything from telemetry is escaped, and nothing is loaded."""
    incidents = tables["incidents"]
    edges = tables["reliability"]
    return str(
        environment("hypocenter.batch")
        .get_template("index.html")
        .render(
            window=f"{_utc(window.start_ns)} to {_utc(window.end_ns)} UTC",
            counts=_counts(incidents),
            incidents=[_incident(row) for row in incidents.iloc[::-1].to_dict("records")],
            offenders=tables["offenders"].head(_OFFENDERS_SHOWN).to_dict("records"),
            edges=edges[edges.errors > 0].head(_EDGES_SHOWN).to_dict("records"),
            healthy=int((edges.errors == 0).sum()) if len(edges) else 0,
            coverage=tables["coverage"].to_dict("records"),
            failed=failed,
        )
    )


def _utc(time_ns: int) -> str:
    return str(pd.Timestamp(time_ns, tz="UTC").strftime("%Y-%m-%d %H:%M:%S"))


def _counts(incidents: pd.DataFrame) -> str:
    n = len(incidents)
    if not n:
        return "No incident was felt"
    named = int((incidents.outcome == "ranked").sum())
    if n == 1:
        return f"1 incident, its origin {'named' if named else 'not clear'}"
    return f"{n} incidents, the origin of {named if named < n else 'each'} named"


def _incident(row: Mapping[str, Any]) -> dict[str, Any]:
    minutes = (row["end"] - row["start"]).total_seconds() / 60
    ranked = row["outcome"] == "ranked"
    return {
        "start": row["start"].strftime("%Y-%m-%d %H:%M:%S"),
        "minutes": f"{minutes:.1f} min",
        "felt": row["felt"],
        "origin": f"{row['origin']} ({row['kind']})" if ranked else "no clear origin",
        "probability": percent(row["probability"]) if ranked and pd.notna(row["probability"]) else "",
        "why": row["why"] if ranked else row["error"] or "",
        "report": None if row["outcome"] == "failed" else f"reports/{row['incident']}.html",
    }
