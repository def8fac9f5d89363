"""Rollups as the service-graph and span metrics of Tempo, in OpenMetrics text: of a window, or live for ``/metrics``.

What reads theirs reads these: the service graph of Grafana, `promtool tsdb create-blocks-from openmetrics`, and
`hypocenter.graph.from_metrics`. The counters of a window begin with a zero just before it, so that all of it counts as
growth; live ones have no times and say what was seen since the process that keeps them began.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa

from ..tracer.window import MINUTE_NS, SECOND_NS, Window
from . import grouping, histogram
from .rollup import STEP_NS, Rollups, cut

MS_NS: Final = 10**6
# Powers of two nanoseconds, 131 us to 69 s: our own buckets end there too, so what is counted below them is exact.
_OCTAVES: Final = range(17, 37)
_LE: Final = (*(repr(2**octave / SECOND_NS) for octave in _OCTAVES), "+Inf")
_COUNTERS: Final = {
    "traces_service_graph_request": ("count", "Calls between two nodes"),
    "traces_service_graph_request_failed": ("errors", "Calls that failed on either side"),
}
_HISTOGRAMS: Final = {
    "traces_service_graph_request_server_seconds": ("server_duration", "Duration as the callee saw it"),
    "traces_service_graph_request_client_seconds": ("client_duration", "Duration as the caller saw it"),
    "traces_service_graph_request_messaging_system_seconds": ("queue", "Time that messages spent in the broker"),
}


def to_openmetrics(rollups: Rollups, window: Window, step_ns: int = MINUTE_NS) -> str:
    """Return the edges of ``window`` as OpenMetrics text: a sample of every series for every step.

    Parameters
    ----------
    step_ns
        A multiple of 10 s, else ValueError. A sample bears the last millisecond of its step.

    Notes
    -----
    Labels are ``client``, ``server`` and ``connection_type`` (``database`` for caches too, ``messaging_system``,
    ``virtual_node`` or empty); ``virtual_node`` says which end records no spans. An outside caller is ``user``. Counts
    are those of recorded spans, not scaled for sampling. ``_sum`` stands on the middles of buckets (2.2 % off at most).
    """
    if step_ns <= 0 or step_ns % STEP_NS:
        raise ValueError(f"expected a multiple of {STEP_NS} ns, got {step_ns}")
    first = window.start_ns // step_ns * step_ns
    ends = np.minimum(np.arange(first, window.end_ns, step_ns) + step_ns, window.end_ns)
    times = [_seconds(int(time)) for time in (window.start_ns, *ends)]
    edges = cut(rollups.edges, window)
    series, labels = pd.factorize(np.array(_labels(edges), object), sort=True)
    place = series * len(times) + (edges["time_ns"].to_numpy() - first) // step_ns + 1
    shape = (len(labels), len(times))
    lines: list[str] = []
    for family, (column, meaning) in _COUNTERS.items():
        lines += [f"# TYPE {family} counter", f"# HELP {family} {meaning}."]
        grown = np.bincount(place, edges[column].to_numpy(), len(labels) * len(times)).reshape(shape)
        for label, values in zip(labels, grown.cumsum(axis=1).astype(np.int64).tolist(), strict=True):
            lines += [f"{family}_total{{{label}}} {n} {time}" for n, time in zip(values, times, strict=True)]
    for family, (column, meaning) in _HISTOGRAMS.items():
        lines += [f"# TYPE {family} histogram", f"# UNIT {family} seconds", f"# HELP {family} {meaning}."]
        row, bucket, count = grouping.entries(edges[column])
        for number in np.unique(series[row]):
            mine = series[row] == number
            at = place[row[mine]] - number * len(times)
            lines += _histogram(family, labels[number], times, at, bucket[mine], count[mine])
    return "\n".join([*lines, "# EOF", ""])


def live_metrics(rollups: Rollups) -> str:
    """Return all of ``rollups`` as one scrape: what Tempo's metrics generator writes of service graphs and spans.

    A collector keeps the sum (`hypocenter.graph.rollup.merge`) of all that it has rolled up, and answers ``/metrics``
    with this; the names are its own to bound, operations beyond 200 a service are ``_other``.

    Notes
    -----
    Beside the edges of `to_openmetrics`, ``traces_spanmetrics_calls_total`` counts spans by service, operation, kind
    and status, and ``traces_spanmetrics_latency`` has their durations, failed ones among them.
    """
    edges, operations = rollups.edges, rollups.operations
    lines = _live(edges, _labels(edges), _COUNTERS, _HISTOGRAMS)
    spans = [
        _pairs({"service": service or "", "span_name": name, "span_kind": _KINDS.get(kind, _KINDS[0])})
        for service, name, kind in zip(
            *(operations[c].to_pylist() for c in ("service", "operation", "kind")), strict=True
        )
    ]
    errors = operations["errors"].to_numpy()
    family = "traces_spanmetrics_calls"
    lines += [f"# TYPE {family} counter", f"# HELP {family} Spans of an operation."]
    for status, counts in (("UNSET", operations["count"].to_numpy() - errors), ("ERROR", errors)):
        labels, totals = _totals(spans, counts)
        lines += [
            f'{family}_total{{{label},status_code="STATUS_CODE_{status}"}} {n}'
            for label, n in zip(labels, totals, strict=True)
            if n
        ]
    latency = {"traces_spanmetrics_latency": ("duration", "Duration of the spans of an operation")}
    lines += _live(operations, spans, {}, latency)
    return "\n".join([*lines, "# EOF", ""])


_OPERATION: Final = ("service", "operation", "kind")
_KINDS: Final = {number: f"SPAN_KIND_{name}" for number, name in enumerate(
    ("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")
)}  # fmt: skip


def _totals(labels: list[str], counts: np.ndarray) -> tuple[list[str], list[int]]:
    series, names = pd.factorize(np.array(labels, object), sort=True)
    return names.tolist(), np.bincount(series, counts, len(names)).astype(np.int64).tolist()


def _live(
    table: pa.Table,
    labels: list[str],
    counters: Mapping[str, tuple[str, str]],
    histograms: Mapping[str, tuple[str, str]],
) -> list[str]:
    """Return the families of a table of rollups, one sample a series and no times."""
    lines: list[str] = []
    for family, (column, meaning) in counters.items():
        lines += [f"# TYPE {family} counter", f"# HELP {family} {meaning}."]
        names, totals = _totals(labels, table[column].to_numpy())
        lines += [f"{family}_total{{{name}}} {n}" for name, n in zip(names, totals, strict=True)]
    series, names = pd.factorize(np.array(labels, object), sort=True)
    for family, (column, meaning) in histograms.items():
        lines += [f"# TYPE {family} histogram", f"# HELP {family} {meaning}, in seconds."]
        row, bucket, count = grouping.entries(table[column])
        order = np.argsort(series[row], kind="stable")
        owner, bucket, count = series[row][order], bucket[order], count[order]
        present, first = np.unique(owner, return_index=True)
        for number, start, end in zip(present, first, np.append(first, len(owner))[1:], strict=True):
            at = np.zeros(end - start, np.int64)
            lines += _histogram(family, names[number], [""], at, bucket[start:end], count[start:end])
    return [line.rstrip() for line in lines]


def _histogram(
    family: str, label: str, times: list[str], at: np.ndarray, bucket: np.ndarray, count: np.ndarray
) -> Iterator[str]:
    """Yield the samples of one series; ``at`` is the time that each entry appears at."""
    below = np.zeros((len(times), len(_LE)), np.int64)
    # Bucket i + 1 ends at the 16th root of two to the power of i.
    np.add.at(below, (at, np.searchsorted([histogram.PER_OCTAVE * o + 1 for o in _OCTAVES], bucket)), count)
    below = below.cumsum(axis=0).cumsum(axis=1)
    sums = np.bincount(at, histogram.middle(bucket) * count / SECOND_NS, len(times)).cumsum()
    names = [f'{family}_bucket{{{label},le="{le}"}}' for le in _LE]
    for time, counts, total in zip(times, below.tolist(), sums.tolist(), strict=True):
        yield from (f"{name} {n} {time}" for name, n in zip(names, counts, strict=True))
        yield f"{family}_count{{{label}}} {counts[-1]} {time}"
        yield f"{family}_sum{{{label}}} {total!r} {time}"


def _labels(edges: pa.Table) -> list[str]:
    columns = ("caller", "caller_kind", "callee", "callee_kind")
    return [_label(*row) for row in zip(*(edges[name].to_pylist() for name in columns), strict=True)]


def _label(caller: str, caller_kind: str, callee: str, callee_kind: str) -> str:
    pairs = {"client": "user" if caller_kind == "external" else caller, "server": callee}
    if "messaging" in (caller_kind, callee_kind):
        kind = "messaging_system"
    elif callee_kind in ("database", "cache"):
        kind = "database"
    else:
        kind = "virtual_node" if "external" in (caller_kind, callee_kind) else ""
    pairs["connection_type"] = kind
    if kind == "virtual_node":
        pairs["virtual_node"] = "client" if caller_kind == "external" else "server"
    return _pairs(pairs)


def _pairs(pairs: Mapping[str, str]) -> str:
    return ",".join(f'{name}="{_escaped(text)}"' for name, text in pairs.items())


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _seconds(end_ns: int) -> str:
    """Return the last millisecond before a time, as seconds."""
    return f"{(end_ns // MS_NS - 1) / 1000:.3f}"
