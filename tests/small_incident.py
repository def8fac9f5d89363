"""A small system in which one service turns slow and fails: its telemetry, its case and a ranking made by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from hypocenter.analysis.case import Case, Symptom
from hypocenter.analysis.ranking import Candidate, Evidence, Ranking
from hypocenter.tracer.batch import Batch
from hypocenter.tracer.schema import SIGNALS

START_NS = 1_700_000_000 * 10**9
SECOND_NS = 10**9
ONSET_NS = START_NS + 300 * SECOND_NS
ALERT_NS = START_NS + 340 * SECOND_NS
END_NS = START_NS + 480 * SECOND_NS
_MS = 10**6
_SERVER, _CLIENT, _ERROR = 2, 3, 2


def telemetry(suspect: str = "payment", operation: str = "POST /pay", message: str = "card refused") -> Batch:
    """Return eight minutes of web -> checkout -> ``suspect`` -> orders-db and web -> catalog, a trace a second.

    From the onset on the suspect takes 400 ms longer and every fourth call fails; it was rolled out 40 s before.
    """
    random = np.random.default_rng(7)
    spans: list[dict[str, Any]] = []
    logs: list[dict[str, Any]] = []
    for second in range(480):
        start = START_NS + second * SECOND_NS
        bad = start >= ONSET_NS
        noise = float(random.uniform(0.8, 1.2))
        own = (20 + 400 * bad) * noise
        failed = bad and second % 4 == 0
        trace = f"{second:032x}"

        def add(number: int, parent: int | None, service: str, name: str, kind: int, at: float, ms: float, **more: Any):
            spans.append(
                {
                    "trace_id": trace,  # noqa: B023
                    "span_id": f"{number:016x}",
                    "parent_span_id": None if parent is None else f"{parent:016x}",
                    "name": name,
                    "kind": kind,
                    "start_ns": start + round(at * _MS),  # noqa: B023
                    "duration_ns": round(ms * _MS),
                    "service": service,
                    "pod": f"{service}-7d4b9c-x2x9z",
                    **more,
                }
            )

        error = {"status": _ERROR} if failed else {}
        add(1, None, "web", "GET /checkout", _SERVER, 0, own + 60, **error)
        add(2, 1, "web", "GET", _CLIENT, 2, 12)
        add(3, 2, "catalog", "GET /items", _SERVER, 3, 9 * noise)
        add(4, 1, "web", "POST", _CLIENT, 16, own + 40, **error)
        add(5, 4, "checkout", "POST /order", _SERVER, 17, own + 36, **error)
        add(6, 5, "checkout", "POST", _CLIENT, 20, own + 24, **error)
        add(7, 6, suspect, operation, _SERVER, 21, own + 21, **error)
        add(8, 7, suspect, "SELECT orders", _CLIENT, 24, 8 * noise, peer_service="orders-db", db_system="postgresql")
        if failed:
            logs.append({"time_ns": start, "severity": 17, "body": message, "service": suspect, "trace_id": trace})
    points = [
        {"series_id": name, "time_ns": START_NS + s * SECOND_NS, "value": value(s)}
        for name, value in (
            ("cpu", lambda s: 0.2 + 0.01 * (s % 7) + 0.6 * (s >= 300)),
            ("memory", lambda s: 50e6 + 1e5 * (s % 5)),
        )
        for s in range(0, 480, 5)
    ]
    series = [
        {"series_id": "cpu", "name": "container_cpu_usage", "kind": "gauge", "service": suspect, "pod": None},
        {"series_id": "memory", "name": "container_memory", "kind": "gauge", "service": suspect, "pod": None},
    ]
    event = {
        "kind": "rollout",
        "reason": "ScalingReplicaSet",
        "message": f"{suspect}: scaled up to 1",
        "service": suspect,
    }
    events = [event | {"time_ns": ONSET_NS - 40 * SECOND_NS, "object_kind": "Deployment", "object_name": suspect}]
    rows = {"spans": spans, "logs": logs, "series": series, "points": points, "events": events}
    return Batch({signal: table(signal, found) for signal, found in rows.items()})


def table(signal: str, rows: list[dict[str, Any]]) -> pa.Table:
    """Return rows in the schema of ``signal``; what a row leaves out is null, or zero where null is not allowed."""
    schema = SIGNALS[signal]
    default = {"status": 0, "adjusted_milli": 1000, "source": "test", "severity": 0}
    filled = [{name: row.get(name, default.get(name)) for name in schema.names} for row in rows]
    return pa.Table.from_pylist(filled, schema=schema)


def case(batch: Batch | None = None) -> Case:
    """Return the case of the incident, alerted 40 s after the onset, felt at ``web``."""
    return Case(batch or telemetry(), ALERT_NS, symptom=Symptom("web"))


def ranking(suspect: str = "payment", text: str = "its own work takes longer: 28 ms before, 428 ms now") -> Ranking:
    """Return a ranking that names ``suspect``, with every part that a report shows."""
    first = Candidate(
        suspect,
        "service",
        suspect,
        0.874,
        ONSET_NS,
        9.1,
        (Evidence("latency", 6.4, text, ONSET_NS), Evidence("errors", 2.7, "25% of its calls fail, 0% before")),
        (Evidence("saturation", -0.4, "memory as before"),),
        (suspect, "checkout", "web"),
    )
    second = Candidate(
        "checkout -> " + suspect,
        "edge",
        suspect,
        0.09,
        ONSET_NS + SECOND_NS,
        2.0,
        (Evidence("latency", 2.0, "calls take 400 ms longer"),),
        (Evidence("latency", -2.5, "the gap between client and server is as before"),),
    )
    third = Candidate("web", "service", "web", 0.002, None, 0.1)
    return Ranking(
        "hypocenter", "ranked", (first, second, third), ("log lines: no spans joined",), ("latency", "errors")
    )
