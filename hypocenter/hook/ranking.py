"""What the worker does: find the origin in the telemetry, put it into plain values, draw the report, keep a case."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypocenter.errors import CaseError, NotApplicable

from ..tracer.window import MINUTE_NS, SECOND_NS
from .telemetry import case_at, known

if TYPE_CHECKING:
    import networkx as nx

    from ..analysis.case import Case
    from ..analysis.ranking import Candidate, Ranking

# A change that late still comes before what it does, by clocks that differ.
_CHANGE_BEFORE_NS, _CHANGE_AFTER_NS = 15 * MINUTE_NS, 30 * SECOND_NS
# Candidates whose onset is that near belong to the same incident.
_ONE_ONSET_NS = 90 * SECOND_NS
_CANDIDATES = 5
_MOST_NAMES = 20_000


def warm_up() -> None:
    """Load and try what a ranking needs, which takes longer than a ranking."""
    from ..analysis import incident  # noqa: F401
    from ..analysis.case import Case
    from ..analysis.ranker import create
    from ..tracer.layouts import read_case_files

    # Engines, caches and code are made ready by a first ranking: of the incident that every installation brings.
    folder = Path(str(files("hypocenter") / "demo_incident"))
    signals = {"traces": ["spans"], "metrics": ["series", "points"]}
    telemetry = read_case_files({kind: [folder / f"{s}.parquet" for s in names] for kind, names in signals.items()})
    case = Case(telemetry, int(telemetry.table("spans")["start_ns"][0].as_py()) + MINUTE_NS)
    finding(case, create("hypocenter").rank(case))


def rank(**place: Any) -> dict[str, Any]:
    """Return the answer of an incident as plain values; the arguments are those of `case_at`.

    Raises
    ------
    CaseError
        There is no ranking: telemetry does not reach the time of the alert, or shows nothing of it.
    """
    case, ranking = _ranked(**place)
    return finding(case, ranking) | {"is_partial": bool(case.not_read)}


def _ranked(**place: Any) -> tuple[Case, Ranking]:
    from ..analysis.ranker import create
    from ..analysis.ranking import Ranking

    case, method = case_at(**place), create("hypocenter")
    try:
        ranking = method.rank(case)
    except NotApplicable as error:
        ranking = Ranking(method.name, "not-applicable", error=str(error))
    if ranking.outcome not in ("ranked", "no-origin"):
        raise CaseError(ranking.error or "no ranking")
    return case, ranking


def finding(case: Case, ranking: Ranking) -> dict[str, Any]:
    """Return what notifications say of a ranking, as plain values."""
    from ..report.answer import answer, doubts, name_of, percent, runners_up

    told = answer(ranking, case)
    first = ranking.candidates[0] if ranking.candidates else None
    named = first if ranking.outcome == "ranked" else None
    return {
        "outcome": ranking.outcome,
        "headline": told.headline,
        "certainty": told.certainty,
        "since": told.since,
        "alert_ns": case.alert_ns,
        "onset_ns": named.onset_ns if named else None,
        "origin": None if named is None else {"entity": named.entity, "kind": named.kind, "service": named.service},
        "name": name_of(named) if named else None,
        "probability": named.probability if named else None,
        "chance": percent(named.probability) if named and named.probability is not None else None,
        "steps": [[step.role, step.entity, step.fact] for step in told.steps],
        "path": list(named.path) if named else [],
        "symptom": told.symptom,
        "changes": changes(case, named),
        "look_at": list(told.look_at),
        "commands": list(told.commands),
        "others": [
            {"name": name_of(c), "service": c.service, "probability": c.probability, "why": doubts(c)}
            for c in runners_up(ranking)
        ],
        "candidates": [c.service for c in ranking.candidates[:_CANDIDATES]],
        "checked": list(ranking.checked),
        "not_checked": list(ranking.not_checked),
        "related": related(case.call_graph, ranking),
    }


def changes(case: Case, origin: Candidate | None) -> list[dict[str, Any]] | None:
    """Return what changed shortly before the onset, the origin's own first; None when no change is ever recorded."""
    import pyarrow.compute as pc

    events = case.telemetry.table("events")
    events = events.filter(pc.invert(pc.equal(events["kind"], "alert")))
    if not events.num_rows:
        return None
    onset = (origin.onset_ns if origin else None) or case.alert_ns
    begin, end = onset - _CHANGE_BEFORE_NS, onset + _CHANGE_AFTER_NS
    near = events.filter(pc.and_(pc.greater_equal(events["time_ns"], begin), pc.less_equal(events["time_ns"], end)))
    rows = near.select(["time_ns", "kind", "reason", "message", "object_name", "service"]).to_pylist()
    own = origin.service if origin else None
    rows.sort(key=lambda row: (row["service"] != own, abs(row["time_ns"] - onset)))
    return [
        {
            "time_ns": row["time_ns"],
            "before_s": round((onset - row["time_ns"]) / SECOND_NS),
            "of": row["service"] or row["object_name"],
            "text": " ".join(part for part in (row["reason"], row["message"]) if part) or row["kind"],
            "own": row["service"] == own,
        }
        for row in rows[:5]
    ]


def related(graph: nx.DiGraph[str], ranking: Ranking) -> list[str]:
    """Return the services that an incident may hurt: the origin and all that reach it by calls (a fault travels from
    callee to caller), and candidates whose evidence began with it and that hang together with it."""
    import networkx as nx

    first = ranking.candidates[0] if ranking.candidates else None
    centre = first.service if first and ranking.outcome == "ranked" else ranking.symptom
    if centre is None:
        return []
    if centre not in graph:
        return [centre]
    found = {centre} | nx.ancestors(graph, centre)
    if first is not None and first.onset_ns is not None and ranking.outcome == "ranked":
        whole = nx.node_connected_component(graph.to_undirected(as_view=True), centre)
        found |= {
            c.service
            for c in ranking.candidates
            if c.evidence_for and c.onset_ns is not None and abs(c.onset_ns - first.onset_ns) <= _ONE_ONSET_NS
        } & whole
    return sorted(found - {"external"})[:_MOST_NAMES]


def draw(path: str, links: dict[str, str], **place: Any) -> dict[str, Any]:
    """Write an incident's report, ranked anew from all that is known by now; ``links`` are URL templates by name."""
    from ..incident import RankedIncident

    case, ranking = _ranked(**place)
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_suffix(".part")
    RankedIncident(ranking, case).report(unfinished, links)
    unfinished.replace(target)
    return {"path": path}


def keep_case(folder: str, label: dict[str, Any], incident: str, **place: Any) -> dict[str, Any]:
    """Write an incident's telemetry and its label as a case of `hypocenter evaluate`; return the case's name."""
    from ..tracer.export import write_parquet
    from ..tracer.schema import SIGNALS

    case = case_at(**place)
    root = Path(folder)
    own = root / "incidents" / incident
    own.mkdir(parents=True, exist_ok=True)
    roles = {"series": "metrics", "points": "metrics", "spans": "traces", "logs": "logs"}
    paths: dict[str, list[str]] = {}
    for signal, role in roles.items():
        table = case.telemetry.table(signal)
        if table.num_rows:
            with (own / f"{signal}.parquet").open("wb") as sink:
                write_parquet(table.to_batches(), SIGNALS[signal], sink)
            paths.setdefault(role, []).append(f"incidents/{incident}/{signal}.parquet")
    alert_s = case.alert_ns / SECOND_NS
    line = {"case": incident, "inject_time_epoch_s": alert_s, "paths": paths, "baseline": {}} | label
    if case.symptom.entity:
        line["target"] = {"node": case.symptom.entity, "metric": case.symptom.signal}
    file = root / "CASES.jsonl"
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    # The last word about an incident counts.
    others = [text for text in lines if text.strip() and json.loads(text).get("case") != incident]
    unfinished = root / ".CASES.jsonl.part"
    unfinished.write_text("\n".join([*others, json.dumps(line, ensure_ascii=False), ""]), encoding="utf-8")
    unfinished.replace(file)
    return {"case": incident, "file": str(file)}


KINDS: dict[str, Callable[..., dict[str, Any]]] = {
    "rank": rank,
    "known": known,
    "draw": draw,
    "keep_case": keep_case,
}
