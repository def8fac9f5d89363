"""What a person waits for: the first figure of a large store, a long trace, a large map, the report of an incident."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .generate import temporary_store
from .measure import Measurement, measure

DESCRIPTION = "open a large store to the first figure, a waterfall of 5,000 spans, a map of 1,000 services, a report"

_INCIDENT = Path(__file__).parent.parent / "sample_data" / "incidents" / "slow-service-payment-1"
_MAP_SPANS = 200_000


def run(spans: int = 10_000_000, trace_spans: int = 5_000, services: int = 1_000) -> dict[str, Any]:
    """Return seconds and peak memory of each, from opening to the figure as JSON, every one in a fresh process.

    The first figure is the service map of a store of ``spans``: cold, when nobody linked any (of many, a sample); of
    all of them, linked; and warm, from the rollups that this, or upkeep, left. Four questions go through every span of
    it. The report is of a recorded incident, ranking included.
    """
    figures: dict[str, Any] = {"spans": spans}
    with temporary_store(spans) as store:
        path = str(store.path)
        figures["first figure, cold"] = _figures(measure(first_figure, path=path))
        figures["first figure of all, cold"] = _figures(measure(first_figure, path=path, sample=1))
        figures["first figure, warm"] = _figures(
            min((measure(first_figure, path=path) for _ in range(2)), key=_seconds)
        )
        for question in ("services", "longest traces", "spans that failed", "latency of a service"):
            figures[question] = _figures(measure(answer, path=path, question=question))
    with temporary_store(min(spans, _MAP_SPANS), services=services) as store:
        path = str(store.path)
        measure(first_figure, path=path)
        figures[f"map of {services:,} services"] = _figures(measure(first_figure, path=path))
    figures[f"waterfall of {trace_spans:,} spans"] = _figures(measure(waterfall, spans=trace_spans))
    figures["report of an incident"] = _figures(measure(report, incident=str(_INCIDENT)))
    return figures


def _seconds(found: Measurement) -> float:
    return found.seconds


def _figures(found: Measurement) -> dict[str, Any]:
    return {
        "seconds": found.seconds,
        "cpu seconds": found.cpu_seconds,
        "peak MB": found.peak_rss_bytes / 1e6,
        "result": found.result,
    }


def first_figure(path: str, sample: int | None = None) -> str:
    """Draw the service map of all that a store holds; return its size, and which share of traces was linked."""
    import hypocenter as hc

    graph = hc.open(path).graph(sample=sample)
    drawn = graph.figure().to_json()
    size = f"{len(graph.nodes):,} nodes, {len(graph.edges):,} edges, {len(drawn):,} bytes"
    return size if graph.sample == 1 else f"{size}; one trace in {graph.sample}"


def answer(path: str, question: str) -> str:
    """Ask a store one of the questions that go through all of its spans; return the size of the answer."""
    import hypocenter as hc

    session = hc.open(path)
    if question == "services":
        return f"{len(session.services()):,} services"
    if question == "longest traces":
        return f"{len(session.traces(error=True)):,} traces"
    if question == "spans that failed":
        failed = session.spans(error=True)
        return f"{len(failed):,} spans, {len(failed.head()):,} shown"
    latency = session.latency(service=str(session.services().spans.idxmax()))
    told = latency.select(longer_than_s=float(latency.to_frame().duration_ns.quantile(0.9)) / 1e9)
    drawn = len(latency.figure().to_json())
    return f"{sum(told.sizes):,} spans, {len(told.to_frame()):,} values compared, {drawn:,} bytes"


def waterfall(spans: int) -> str:
    """Lay out and draw one trace, four callees a span; return its size."""
    import numpy as np
    import pyarrow as pa

    from hypocenter.graph.one_trace import laid_out
    from hypocenter.tracer.schema import SPANS
    from hypocenter.views import Trace

    number = np.arange(spans)
    depth = np.floor(np.log(3 * number + 1) / np.log(4)).astype(int)
    rows = {
        "trace_id": np.full(spans, f"{1:032x}"),
        "span_id": [f"{n + 1:016x}" for n in number],
        "parent_span_id": [None, *(f"{(n - 1) // 4 + 1:016x}" for n in number[1:])],
        "name": np.char.add("operation-", (number % 50).astype(str)),
        "kind": np.full(spans, 2),
        "status": np.where(number % 500 == 499, 2, 0),
        "start_ns": number * 1000,
        "duration_ns": 10**9 // (depth + 1) ** 2,
        "service": np.char.add("service-", (number % 40).astype(str)),
    }
    columns = [pa.array(rows[name], SPANS.field(name).type) if name in rows else None for name in SPANS.names]
    arrays = [pa.nulls(spans, f.type) if c is None else c for f, c in zip(SPANS, columns, strict=True)]
    drawn = Trace(laid_out(pa.table(arrays, names=SPANS.names))).figure()
    return f"{len(drawn.data[0].y):,} of {spans:,} spans, {len(drawn.to_json()):,} bytes"


def report(incident: str) -> str:
    """Read a recorded incident, rank it and write its page; return the size of the page."""
    import tempfile

    import hypocenter as hc

    with tempfile.TemporaryDirectory() as folder:
        page = hc.ingest(incident, Path(folder) / "store").report(Path(folder) / "page.html")
        return f"{page.stat().st_size:,} bytes"
