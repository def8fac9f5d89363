"""An hour of a store: the incidents that began in it, their rankings and reports, its edges and its coverage."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from .. import __version__
from ..analysis.incident import case_of
from ..analysis.onset import BASELINE_NS, INCIDENT_NS
from ..analysis.ranker import create
from ..analysis.symptom import Felt, find_symptoms
from ..errors import HypocenterError
from ..graph.cache import rollups
from ..graph.dependency_graph import DependencyGraph
from ..incident import RankedIncident
from ..tracer.schema import SIGNALS
from ..tracer.store import Store
from ..tracer.store.remote import store_at
from ..tracer.window import HOUR_NS, MINUTE_NS, SECOND_NS, Window, to_rfc3339
from .rows import answer, candidates, is_passing
from .tables import TABLES, write_tables


def name_of(hour: Window) -> str:
    """Return the hour as a file name.

    >>> name_of(Window(1_700_000_000 * 10**9 // 3600 // 10**9 * 3600 * 10**9, 1_700_003_600 * 10**9))
    '2023-11-14T22'
    """
    return to_rfc3339(hour.start_ns)[:13]


def hours_of(store: Store, asked: Window) -> list[Window]:
    """Return the hours of a window that hold spans, and those after them, in which a silence may begin."""
    held = {hour.start_ns for hour in store.hours("spans", asked)}
    after = {start_ns + HOUR_NS for start_ns in held if start_ns + HOUR_NS < asked.end_ns}
    return [Window(start_ns, start_ns + HOUR_NS) for start_ns in sorted(held | after)]


def store_of_pass(place: str, sample: int, begun_ns: int) -> Store:
    """Return a snapshot of the store at ``place``, of one listing for all tasks of a pass that one process does.

    A worker would list the store for each of many hours otherwise; ``begun_ns`` tells passes apart.
    """
    return _opened(place, begun_ns).sampled(sample)


@lru_cache(maxsize=1)
def _opened(place: str, begun_ns: int) -> Store:
    return store_at(place).snapshot()


def key_of(store: Store, hour: Window, ranker: str, links: Mapping[str, str]) -> str:
    """Return what the results of an hour depend on: the segments around it, the ranker, links and this version."""
    names = [f"{s}/{segment.path.stem}" for s in SIGNALS for segment in store.segments(s, around(hour))]
    asked = [__version__, ranker, f"one in {store.sample}", json.dumps(dict(links), sort_keys=True)]
    return hashlib.sha256("\n".join([*asked, *sorted(names)]).encode()).hexdigest()[:32]


def analyse(store: Store, hour: Window, ranker: str, folder: Path, reports: Path, links: Mapping[str, str]) -> None:
    """Write the tables of an hour to ``folder``, and a page per incident to ``reports``, with ``links``.

    What passes by itself, storage that does not answer say, is raised (SourceError): it is no answer of the hour.
    """
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in TABLES}
    for felt, between in _felt(store, hour):
        incident, found = _incident(store, felt, between, ranker, reports, links)
        rows["incidents"].append(incident)
        rows["candidates"] += found
    rows["edges"], rows["coverage"] = _traffic(store, hour)
    write_tables(folder, rows)


def around(hour: Window) -> Window:
    """Return the hour with what an incident at its beginning is compared with, and with the rest of one at its end."""
    return Window(hour.start_ns - BASELINE_NS, hour.end_ns + INCIDENT_NS)


def _felt(store: Store, hour: Window) -> Iterator[tuple[Felt, Window]]:
    """Yield what was felt from within ``hour`` on, with the time between the incident before and the one after.

    An incident is no baseline for the next one.
    """
    whole, held = around(hour), store.bounds("spans")
    if held is None:
        return
    # Before the first span nothing was silent.
    searched = Window(max(whole.start_ns, held.start_ns), min(whole.end_ns, held.end_ns))
    found = find_symptoms(rollups(store, searched), searched)
    starts = [held.start_ns, *(felt.window.end_ns for felt in found)]
    ends = [*(felt.window.start_ns for felt in found[1:]), held.end_ns]
    for felt, start_ns, end_ns in zip(found, starts, ends, strict=False):
        if hour.start_ns <= felt.window.start_ns < hour.end_ns:
            # What follows its end tells of the next one, or of nothing.
            yield felt, Window(start_ns, max(min(end_ns, felt.window.end_ns + MINUTE_NS), felt.window.end_ns))


def _incident(
    store: Store, felt: Felt, between: Window, ranker: str, reports: Path, links: Mapping[str, str]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    start = to_rfc3339(felt.window.start_ns // SECOND_NS * SECOND_NS)
    name = f"{start.replace(':', '')}-{hashlib.sha256(felt.service.encode()).hexdigest()[:8]}"
    row: dict[str, Any] = {
        "incident": name,
        "sample": store.sample,
        "start": felt.window.start_ns,
        "end": felt.window.end_ns,
        "symptom": felt.service,
        "signal": felt.signal,
        "felt": felt.text,
    }
    try:
        case = case_of(store, at_ns=felt.window.start_ns, symptom=felt.service, between=between)
        ranking = create(ranker).rank(case)
    except HypocenterError as error:
        if is_passing(error):
            raise
        return row | {"outcome": "failed", "error": str(error)}, []
    RankedIncident(ranking, case).report(reports / f"{name}.html", links)
    return row | answer(ranking), list(candidates(name, ranking))


def _traffic(store: Store, hour: Window) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    graph = DependencyGraph.read(store, hour)
    wanted = TABLES["edges"].names[1:]
    edges = graph.edges[wanted].astype(object)
    edges = edges.where(edges.notna(), None)
    coverage = graph.coverage
    milli = graph.rollups.operations["adjusted_milli"].to_numpy().sum()
    share = {
        "spans": coverage.spans,
        "linked": coverage.linked,
        "adjusted_spans": milli / 1000,
        "explained_ratio": coverage.explained_ratio,
    }
    rows = [{"hour": hour.start_ns, **row} for row in edges.to_dict("records")]
    return rows, [{"hour": hour.start_ns, "sample": store.sample, **share}]
