"""Spans of an invented system, in the order in which they would arrive; the same seed gives the same spans.

A system is a set of services that call each other downwards (so that calls have no cycle) and a set of trace
templates: trees of server, client, in-process, producer and consumer spans. A trace is a template with durations
drawn anew. All work on spans is columnar; Python loops only over templates and levels of depth.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from hypocenter.errors import SourceError
from hypocenter.semconv import (
    KIND_CLIENT,
    KIND_CONSUMER,
    KIND_INTERNAL,
    KIND_PRODUCER,
    KIND_SERVER,
    STATUS_ERROR,
    STATUS_UNSET,
)
from hypocenter.tracer.batch import Batch
from hypocenter.tracer.schema import ATTRIBUTES, SPANS
from hypocenter.tracer.window import SECOND_NS

if TYPE_CHECKING:
    from hypocenter.tracer.store import Store

START_NS = 1_700_000_000 * SECOND_NS
_FEWEST_TEMPLATES = 128
_SMALLEST_TRACE, _LARGEST_TRACE = 4, 60
_PODS = 3
_SERVER_NS, _CLIENT_NS, _INTERNAL_NS, _DATABASE_NS, _MESSAGE_NS = 2e6, 4e5, 5e5, 1.5e6, 3e5
_QUEUE_NS = 5e6
_EXPORT_NS = 5 * SECOND_NS
_LATEST_NS = 600 * SECOND_NS
_TRACES_AT_ONCE = 2048
# Generous: a segment of generated spans takes about 40, and what is done with it may lay as much aside again.
_BYTES_PER_SPAN = 100


@dataclass(slots=True)
class _Node:
    """One span of a template; positions are within the template."""

    parent: int
    depth: int
    process: int
    kind: int
    service: str
    name: str
    typical_ns: float
    columns: dict[str, str | int]
    attributes: dict[str, str]


@dataclass(frozen=True)
class System:
    """Templates laid end to end, a value per template span; ``first`` and ``size`` find the spans of a template."""

    first: np.ndarray
    size: np.ndarray
    weight: np.ndarray
    parent: np.ndarray
    depth: np.ndarray
    process: np.ndarray
    kind: np.ndarray
    service: np.ndarray
    typical_ns: np.ndarray
    columns: pa.Table
    pods: pa.Table


def system(services: int = 100, seed: int = 0) -> System:
    """Return a system of ``services`` services with databases and topics behind them."""
    rng = np.random.default_rng(seed)
    names = [f"service-{i:03d}" for i in range(services)]
    # With fewer than there are services most of these would never be called.
    templates = max(_FEWEST_TEMPLATES, services)
    callees = [
        sorted({int(j) for j in rng.integers(i + 1, services, 3)}) if i + 1 < services else [] for i in range(services)
    ]
    trees = [_tree(names, callees, int(rng.integers(max(1, services // 4))), t, rng) for t in range(templates)]
    nodes = [node for tree in trees for node in tree]
    size = np.array([len(tree) for tree in trees])
    weight = 1 / np.arange(1, templates + 1)
    texts = ("peer_service", "peer_address", "db_system", "db_name", "rpc_system", "messaging_system")
    texts = (*texts, "messaging_destination", "messaging_operation", "http_status")
    columns: dict[str, Any] = {
        name: pa.array([node.columns.get(name) for node in nodes], SPANS.field(name).type) for name in texts
    }
    columns["service"] = pa.array([node.service for node in nodes])
    columns["name"] = pa.array([node.name for node in nodes])
    columns["attributes"] = pa.array([list(node.attributes.items()) for node in nodes], ATTRIBUTES)
    pods = [
        (name, f"{name}-7d9f{p:x}", f"node-{(s + p) % 20:02d}") for s, name in enumerate(names) for p in range(_PODS)
    ]
    resources = [
        [("service.name", f'"{service}"'), ("k8s.pod.name", f'"{pod}"'), ("k8s.node.name", f'"{node}"')]
        for service, pod, node in pods
    ]
    return System(
        first=np.concatenate([[0], np.cumsum(size)[:-1]]),
        size=size,
        weight=weight / weight.sum(),
        parent=np.array([node.parent for node in nodes]),
        depth=np.array([node.depth for node in nodes]),
        process=np.array([node.process for node in nodes]),
        kind=np.array([node.kind for node in nodes], np.int8),
        service=np.array([names.index(node.service) for node in nodes]),
        typical_ns=np.array([node.typical_ns for node in nodes]),
        columns=pa.table(columns),
        pods=pa.table(
            {
                "instance": [pod for _, pod, _ in pods],
                "pod": [pod for _, pod, _ in pods],
                "node": [node for _, _, node in pods],
                "resource": pa.array(resources, ATTRIBUTES),
            }
        ),
    )


def _tree(
    names: list[str], callees: list[list[int]], entry: int, template: int, rng: np.random.Generator
) -> list[_Node]:
    """Return one template: the spans of a request that enters at service ``entry``, parents before children."""
    nodes: list[_Node] = []
    largest = int(rng.integers(_SMALLEST_TRACE, _LARGEST_TRACE))

    def add(parent: int, kind: int, service: str, name: str, typical_ns: float, **columns: str | int) -> int:
        at = len(nodes)
        starts_process = parent < 0 or kind in (KIND_SERVER, KIND_CONSUMER)
        attributes = {"http.request.method": '"GET"', "url.path": f'"/{name}"'} if kind == KIND_SERVER else {}
        process = at if starts_process else nodes[parent].process
        depth = 0 if parent < 0 else nodes[parent].depth + 1
        nodes.append(_Node(parent, depth, process, kind, service, name, typical_ns, columns, attributes))
        return at

    def serve(service: int, parent: int, operation: str) -> None:
        own = names[service]
        server = add(parent, KIND_SERVER, own, operation, _SERVER_NS, http_status=200)
        work = add(server, KIND_INTERNAL, own, "handle", _INTERNAL_NS) if rng.random() < 0.4 else server
        for callee in callees[service]:
            if len(nodes) >= largest or rng.random() < 0.4:
                continue
            asked = f"op-{template % 4}"
            call = add(work, KIND_CLIENT, own, asked, _CLIENT_NS, peer_service=names[callee], rpc_system="grpc")
            serve(callee, call, asked)
        if rng.random() < 0.5:
            system_name = ("postgresql", "redis", "mongodb")[service % 3]
            add(
                work, KIND_CLIENT, own, f"SELECT {own}", _DATABASE_NS,
                db_system=system_name, db_name=f"{own}-db", peer_address=f"{system_name}-{service % 8}",
            )  # fmt: skip
        if rng.random() < 0.1 and service + 1 < len(names):
            topic: dict[str, str | int] = {"messaging_system": "kafka", "messaging_destination": f"topic-{service % 5}"}
            sent = add(
                work, KIND_PRODUCER, own, f"send topic-{service % 5}", _MESSAGE_NS, messaging_operation="send", **topic
            )
            reader = names[int(rng.integers(service + 1, len(names)))]
            add(
                sent,
                KIND_CONSUMER,
                reader,
                f"process topic-{service % 5}",
                _SERVER_NS,
                messaging_operation="process",
                **topic,
            )

    serve(entry, -1, f"GET /{template}")
    return nodes


def span_tables(
    spans: int,
    *,
    services: int = 100,
    seed: int = 0,
    batch_rows: int = 65_536,
    rate_per_s: int = 10_000,
    error_ratio: float = 0.01,
    late_ratio: float = 0.01,
    start_ns: int = START_NS,
) -> Iterator[pa.Table]:
    """Yield exactly ``spans`` spans in tables of ``batch_rows`` (the last may be shorter), by time of arrival.

    A span arrives up to 5 s after its end, as exporters send in batches, so traces interleave; ``late_ratio`` of the
    spans come up to 10 minutes later still. Traces at the very end are cut, as in any recording. Children lie within
    their parents, except consumers, which follow their producers. Memory is bounded by the spans in flight.
    """
    invented = system(services, seed)
    rng = np.random.default_rng([seed, 1])
    spans_per_trace = float(invented.weight @ invented.size)
    step_ns = int(spans_per_trace / rate_per_s * SECOND_NS)
    waiting, arrivals = SPANS.empty_table(), np.empty(0, np.int64)
    ready = SPANS.empty_table()
    begun = emitted = 0
    while emitted < spans:
        begins = start_ns + (begun + np.arange(_TRACES_AT_ONCE)) * step_ns
        begun += _TRACES_AT_ONCE
        new_arrivals, new = _traces(invented, begins, rng, error_ratio, late_ratio)
        arrivals = np.concatenate([arrivals, new_arrivals])
        order = np.argsort(arrivals, kind="stable")
        arrivals, waiting = arrivals[order], pa.concat_tables([waiting, new]).take(pa.array(order))
        # Nothing generated later can arrive before the next trace begins.
        arrived = int(np.searchsorted(arrivals, start_ns + begun * step_ns))
        ready = pa.concat_tables([ready, waiting.slice(0, arrived)])
        arrivals, waiting = arrivals[arrived:], waiting.slice(arrived)
        while emitted < spans and ready.num_rows >= (rows := min(batch_rows, spans - emitted)):
            yield ready.slice(0, rows)
            emitted += rows
            ready = ready.slice(rows)


def _traces(
    invented: System, begins: np.ndarray, rng: np.random.Generator, error_ratio: float, late_ratio: float
) -> tuple[np.ndarray, pa.Table]:
    """Return the spans of one trace per begin time, and when each arrives, nanoseconds since the epoch."""
    template = rng.choice(len(invented.size), len(begins), p=invented.weight)
    sizes = invented.size[template]
    first = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    trace = np.repeat(np.arange(len(begins)), sizes)
    node = np.arange(len(trace)) - np.repeat(first - invented.first[template], sizes)
    parent = np.where(invented.parent[node] < 0, -1, invented.parent[node] + first[trace])
    kind = invented.kind[node]
    levels = _levels(invented.depth[node])
    is_async = kind == KIND_CONSUMER

    own_ns = (invented.typical_ns[node] * rng.lognormal(0, 0.6, len(node))).astype(np.int64) + 1000
    duration = own_ns.copy()
    failed = np.zeros(len(node), bool)
    origin = first + rng.integers(sizes)
    failed[origin[rng.random(len(begins)) < error_ratio]] = True
    for level in reversed(levels[1:]):
        within = level[~is_async[level]]
        np.add.at(duration, parent[within], duration[within])
        failed[parent[within[failed[within]]]] = True

    children = np.bincount(parent[parent >= 0], minlength=len(node))
    pause = own_ns // (children + 1)
    start = begins[trace]
    for level in levels[1:]:
        # Siblings are neighbours in a level; they run one after the other with a pause of the parent's own work.
        above, position = parent[level], np.arange(len(level))
        eldest = np.maximum.accumulate(np.where(np.diff(above, prepend=-1) != 0, position, 0))
        busy = np.where(is_async[level], 0, duration[level])
        before = np.cumsum(busy) - busy
        inside = start[above] + pause[above] * (position - eldest + 1) + before - before[eldest]
        queued = start[above] + duration[above] + rng.exponential(_QUEUE_NS, len(level)).astype(np.int64)
        start[level] = np.where(is_async[level], queued, inside)

    process = invented.process[node] + first[trace]
    pod = invented.service[node] * _PODS + rng.integers(_PODS, size=len(node))[process]
    arrival = start + duration + rng.integers(_EXPORT_NS, size=len(node))[process]
    late = rng.random(len(node)) < late_ratio
    arrival[late] += rng.integers(_LATEST_NS, size=int(late.sum()))

    span_ids = _hex(rng.integers(256, size=(len(node), 8), dtype=np.uint8))
    trace_ids = _hex(rng.integers(256, size=(len(begins), 16), dtype=np.uint8))
    known = invented.columns.take(pa.array(node))
    instances = invented.pods.take(pa.array(pod))
    columns: dict[str, Any] = {
        "trace_id": trace_ids.take(pa.array(trace)),
        "span_id": span_ids,
        "parent_span_id": span_ids.take(pa.array(parent, mask=parent < 0)),
        "kind": kind,
        "status": np.where(failed, STATUS_ERROR, STATUS_UNSET).astype(np.int8),
        "start_ns": start,
        "duration_ns": duration,
        "error_type": pa.array(np.where(failed, "timeout", ""), mask=~failed),
        "adjusted_milli": np.full(len(node), 1000),
        **{name: known.column(name) for name in known.column_names},
        **{name: instances.column(name) for name in instances.column_names},
        "scope": pa.array(["generated"]).take(pa.array(np.zeros(len(node), np.int8))),
        "source": pa.array(["benchmarks.generate"]).take(pa.array(np.zeros(len(node), np.int8))),
    }
    filled = [columns.get(f.name, pa.nulls(len(node), f.type)) for f in SPANS]
    return arrival, pa.table(filled, schema=SPANS)


def _levels(depth: np.ndarray) -> list[np.ndarray]:
    """Return the positions of each depth, the roots first, in order."""
    order = np.argsort(depth, kind="stable")
    return np.split(order, np.cumsum(np.bincount(depth))[:-1])


_HEX = np.frombuffer("".join(f"{byte:02x}" for byte in range(256)).encode(), np.uint8).reshape(256, 2)


def _hex(raw: np.ndarray) -> pa.StringArray:
    """Return lower-case hex of each row of bytes."""
    rows, width = raw.shape
    offsets = np.arange(rows + 1, dtype=np.int32) * (2 * width)
    return pa.StringArray.from_buffers(rows, pa.py_buffer(offsets), pa.py_buffer(_HEX[raw].tobytes()))


@contextmanager
def temporary_store(spans: int, *, batch_rows: int = 65_536, **options: Any) -> Iterator[Store]:
    """Yield a store of generated spans in a temporary folder that is always removed; options as of `span_tables`.

    Raises SourceError when the disk of temporary files has no room for it.
    """
    from hypocenter.tracer.store import Store

    with tempfile.TemporaryDirectory(prefix="hypocenter-benchmark-") as folder:
        needed, free = spans * _BYTES_PER_SPAN, shutil.disk_usage(folder).free
        if needed > free // 2:
            raise SourceError(
                f"{folder}: {spans:,} spans need about {needed:,} bytes, {free:,} are free; ask for fewer"
            )
        store = Store(Path(folder) / "store", create=True)
        fill(store, spans, batch_rows=batch_rows, **options)
        yield store


def fill(store: Store, spans: int, *, batch_rows: int = 65_536, **options: Any) -> None:
    """Append generated spans to ``store``, a segment per batch, each in the hour in which its last span ended."""
    for table in span_tables(spans, batch_rows=batch_rows, **options):
        ended = int(np.max(table["start_ns"].to_numpy() + table["duration_ns"].to_numpy()))
        store.append(Batch({"spans": table}), arrived_ns=ended)
