"""Telemetry that is hard on an engine: skewed, late, without parents or kinds, linked, copied, in many tongues."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.generate import START_NS, fill, span_tables
from hypocenter.tracer.batch import Batch
from hypocenter.tracer.schema import LOGS, SPANS
from hypocenter.tracer.store import Store
from hypocenter.tracer.window import HOUR_NS, MINUTE_NS

_NAMES = ["größe", "服务", "cart\u0000", "Ⅷ", "a'b\"c", "", "e\u0301", "é", "🛒", "Cart", "cart"]
_TEXTS = ("service", "name", "pod", "service_namespace", "peer_service", "error_type", "messaging_destination")
_CHOICES: dict[str, list[Any]] = {
    "kind": [0, 1, 2, 3, 4, 5],
    "status": [0, 1, 2],
    "http_status": [None, 200, 404, 503, 504],
    "db_system": [None, None, "redis", "postgresql"],
    "messaging_system": [None, None, "kafka"],
    "messaging_operation": [None, "send", "process", "receive", "create", "settle"],
    "adjusted_milli": [1000, 1500, 16000],
    "environment": [None, None, "prod", "test"],
    "cluster": [None, "eu", "us"],
}


def odd_spans(spans: int = 6_000, seed: int = 0, *, are_ids_hex: bool = True) -> pa.Table:
    """Return spans over three hours, of which a third is of one trace, with every value that columns may have."""
    random = np.random.default_rng(seed)
    trace = np.where(random.random(spans) < 1 / 3, 0, random.integers(1, spans // 5, spans))
    number = np.arange(spans)
    # A parent is an earlier span of the same trace, of another trace, or nowhere.
    parent = np.maximum(0, number - random.integers(1, 40, spans))
    kind_of_parent = random.random(spans)
    to_trace, to_span = ("{:032x}".format, "{:016x}".format) if are_ids_hex else ("t{}".format, "s{}".format)
    pick = random.integers(0, 2**31, (spans, len(_TEXTS) + len(_CHOICES) + 1))
    rows = []
    for at in range(spans):
        row: dict[str, Any] = dict.fromkeys(SPANS.names) | {"source": "test"}
        for column, name in enumerate(_TEXTS):
            value = _NAMES[pick[at, column] % len(_NAMES)]
            row[name] = value if name == "name" or pick[at, column] % 3 else None
        for column, (name, values) in enumerate(_CHOICES.items(), len(_TEXTS)):
            row[name] = values[pick[at, column] % len(values)]
        if pick[at, -1] % 10 == 0:
            linked = int(pick[at, -1]) // 10 % spans
            row["links"] = [{"trace_id": to_trace(int(trace[linked])), "span_id": to_span(linked)}] * 2
        within = np.flatnonzero(trace[max(0, at - 300) : at] == trace[at]) + max(0, at - 300)
        above = int(within[-1]) if len(within) and kind_of_parent[at] < 0.8 else int(parent[at])
        row |= {
            "trace_id": to_trace(int(trace[at])),
            "span_id": to_span(at),
            "parent_span_id": None if kind_of_parent[at] > 0.95 else to_span(above),
            "start_ns": START_NS + int(at * 3 * HOUR_NS / spans),
            "duration_ns": int(random.integers(0, 10**9)),
        }
        rows.append(row)
    # Exports that were retried.
    rows += [rows[at] for at in random.integers(0, spans, spans // 50).tolist()]
    return pa.Table.from_pylist(rows, SPANS)


def odd_store(path: Path, *, are_ids_hex: bool = True, generated: int = 0) -> Store:
    """Return a store of these spans in several segments, some late by an hour, beside ``generated`` spans."""
    store = Store(path, create=True)
    table = odd_spans(are_ids_hex=are_ids_hex)
    order = np.argsort(table["start_ns"].to_numpy() % (20 * MINUTE_NS), kind="stable")
    for at, part in enumerate(np.array_split(order, 4)):
        store.append(Batch({"spans": table.take(pa.array(part))}), arrived_ns=START_NS + at * HOUR_NS)
    if generated:
        fill(store, generated, late_ratio=0.05, rate_per_s=20)
    return store


def skewed_store(path: Path, spans: int = 20_000) -> Store:
    """Return a store of generated spans over an hour or so, of which a quarter is of one trace and many come late."""
    store = Store(path, create=True)
    for at, table in enumerate(span_tables(spans, services=30, late_ratio=0.1, rate_per_s=5, batch_rows=4_096)):
        is_hot = pc.is_in(pc.utf8_slice_codeunits(table["trace_id"], 0, 1), pa.array(list("0123")))
        traces = pc.if_else(is_hot, "0" * 32, table["trace_id"])
        table = table.set_column(table.schema.get_field_index("trace_id"), SPANS.field("trace_id"), traces)
        store.append(Batch({"spans": table}), arrived_ns=START_NS + at * HOUR_NS)
    return store


def odd_logs(spans: pa.Table, lines: int = 4_000, seed: int = 0) -> pa.Table:
    """Return log lines of spans, of other ids and of none, some without a service, in more templates than are kept."""
    random, span = np.random.default_rng(seed), spans.select(["trace_id", "span_id", "service", "start_ns"]).to_pylist()
    words = ["größe", "服务", "a'b\"c", "cart\u0000", "e\u0301", "🛒", "failed", ""]
    rows = []
    for line in range(lines):
        of = span[int(random.integers(len(span)))]
        ids = random.random()
        # The word after the first is not masked, as a number would be: so many templates.
        letters = "".join(chr(97 + int(digit)) for digit in str(int(random.integers(700))))
        rows.append(
            dict.fromkeys(LOGS.names)
            | {
                "time_ns": of["start_ns"] + int(random.integers(10**7)),
                "severity": int(random.integers(0, 24)),
                "body": f"{words[line % len(words)]} {letters} took {line} ms",
                "trace_id": of["trace_id"] if ids < 0.7 else "absent" if ids < 0.8 else None,
                "span_id": of["span_id"] if ids < 0.7 else "absent" if ids < 0.8 else None,
                "service": of["service"] if line % 5 else None,
                "source": "test",
            }
        )
    return pa.Table.from_pylist(rows, LOGS)
