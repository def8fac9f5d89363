"""The telemetry of an alert: what the store holds of its time and what servers answer, as one case."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from hypocenter.errors import CaseError, HypocenterError

from ..tracer.window import MINUTE_NS, SECOND_NS, Window

if TYPE_CHECKING:
    from ..analysis.case import Case
    from ..tracer.store import Store

# Telemetry that ends earlier before the alert does not show it.
_TOO_OLD_NS = 10 * MINUTE_NS
# Asked of servers: what precedes the earliest onset, to compare with.
_BASELINE_NS = 15 * MINUTE_NS
# What tells deployments of one service apart (hypocenter.graph.node_names).
_IDENTITY = ("service_namespace", "environment", "cluster")
_NAMES_NS, _NAMES_ASKED_NS = 15 * MINUTE_NS, 5 * MINUTE_NS


def case_at(
    sources: Mapping[str, Any], at_ns: int, now_ns: int, symptom: str | None, most_spans: int, ask_s: float
) -> Case:
    """Return the case of an alert.

    Parameters
    ----------
    sources
        ``store``, a path, and servers by kind (`hypocenter.hook.servers`).
    at_ns, now_ns, symptom
        Around when it began; up to when servers are asked; the service where it hurts, as the alert says.
    most_spans
        Of the store; more are sampled by whole traces.
    ask_s
        How long servers may take. What is late or fails is told in the case's ``not_read``.

    Raises
    ------
    CaseError
        Nothing is known of the time of the alert.
    """
    from ..analysis.case import Case, Symptom
    from ..analysis.onset import EARLIEST_NS
    from ..tracer.batch import concat
    from .servers import Asking

    servers, stored, notes = _servers(sources), None, []
    window = Window(min(at_ns, now_ns - 1) - EARLIEST_NS - _BASELINE_NS, now_ns)
    asking = Asking(servers, window, ask_s)
    if "store" in sources:
        try:
            stored = _stored(sources["store"], at_ns, symptom, most_spans)
        except HypocenterError as error:
            if not servers:
                raise
            notes.append(f"store: {error}")
    asked, missing = asking.result()
    notes += missing
    if stored is None:
        if not asked.rows:
            raise CaseError("; ".join(notes) or "the servers hold nothing of the time of the alert")
        stored = Case(asked, at_ns, symptom=Symptom(symptom))
    elif asked.rows:
        stored = replace(stored, telemetry=concat([stored.telemetry, asked]))
    return replace(stored, not_read=(*stored.not_read, *notes))


def known(sources: Mapping[str, Any], now_ns: int, ask_s: float) -> dict[str, Any]:
    """Return the names that the newest telemetry uses: services, the service of each pod, the services of each node."""
    from .servers import Asking, load

    load(kind for kind in sources if kind != "store")
    columns = {"spans": ["service", "pod", "node", *_IDENTITY], "series": ["service", "pod", "node"]}
    if "store" in sources:
        store = _store(sources["store"])
        held = store.bounds("spans")
        window = Window(max(held.end_ns - _NAMES_NS, held.start_ns), held.end_ns) if held else None
        batches = list(store.scan("spans", window, columns["spans"])) if window else []
        batches += store.scan("series", columns=columns["series"])
    else:
        asked, _ = Asking(_servers(sources), Window(now_ns - _NAMES_ASKED_NS, now_ns), ask_s).result()
        batches = [b for signal, names in columns.items() for b in asked.table(signal).select(names).to_batches()]
    return _names(batches)


@cache
def _store(path: str) -> Store:
    from ..tracer.store.remote import store_at

    return store_at(path)


def _stored(path: str, at_ns: int, symptom: str | None, most_spans: int) -> Case:
    """Return the case in the store; CaseError when its telemetry does not reach the time of the alert."""
    from ..analysis.incident import case_of

    store = _store(path)
    held = store.bounds()
    if held is None:
        raise CaseError(f"{path}: the store is empty")
    if held.end_ns < at_ns - _TOO_OLD_NS:
        raise CaseError(f"telemetry ends {(at_ns - held.end_ns) // SECOND_NS} s before the alert")
    # Within what there is: a rule's long `for` may reach before it, a clock that differs beyond it.
    at_ns = min(max(at_ns, held.start_ns), held.end_ns)
    case = case_of(store, at_ns=at_ns, symptom=symptom, most_spans=most_spans)
    damaged = len(store.problems)
    return replace(case, not_read=(*case.not_read, f"store: {damaged} damaged segments")) if damaged else case


def _servers(sources: Mapping[str, Any]) -> dict[str, Any]:
    """Return the servers to ask: what a collector pulls into the store is there already."""
    servers = {kind: section for kind, section in sources.items() if kind != "store"}
    if "store" not in sources or not servers:
        return servers
    from ..tracer.pull import fetcher
    from ..tracer.pull.settings import Settings

    try:
        store = _store(sources["store"])
        held = store.bounds("spans")
    except HypocenterError:
        return servers
    window = Window(held.end_ns - MINUTE_NS, held.end_ns) if held else None
    tables = [store.read("series", columns=["source"]), store.read("spans", window, ["source"])]
    there = {name for table in tables for name in table["source"].unique().to_pylist()}
    return {
        kind: section
        for kind, section in servers.items()
        if kind == "kubernetes" or fetcher(Settings.of(kind, section))[1] not in there
    }


def _names(batches: Iterable[pa.RecordBatch]) -> dict[str, Any]:
    from ..graph.node_names import Identity, node_names

    rows = [
        row
        for batch in batches
        for row in pa.Table.from_batches([batch]).group_by(batch.schema.names).aggregate([]).to_pylist()
        if row["service"]
    ]
    identities = [Identity(row["service"], *(row.get(field) for field in _IDENTITY)) for row in rows]
    names = node_names(identities)
    # Series do not say which deployment of a service they are of: a name that several have is none of theirs.
    apart = {one.name for one, name in names.items() if name != one.name}
    services: set[str] = set()
    pods: dict[str, str] = {}
    nodes: dict[str, set[str]] = {}
    for row, one in zip(rows, identities, strict=True):
        name = names[one]
        if name != one.name or name not in apart:
            services.add(name)
            pods |= {row["pod"]: name} if row["pod"] else {}
            if row["node"]:
                nodes.setdefault(row["node"], set()).add(name)
    return {"services": sorted(services), "pods": pods, "nodes": {k: sorted(v) for k, v in nodes.items()}}
