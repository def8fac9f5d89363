"""Reading of files by format against parsing alone, by the fastest parser of the same bytes."""

from __future__ import annotations

import gc
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from hypocenter.semconv import KIND_CLIENT, KIND_CONSUMER, KIND_PRODUCER, KIND_SERVER
from hypocenter.tracer.detect import decode
from hypocenter.tracer.otlp import JSON, PROTOBUF, encode_traces
from hypocenter.tracer.otlp.decode import REQUESTS
from hypocenter.tracer.source import open_source

from .generate import span_tables
from .measure import measure

DESCRIPTION = "rows/s of reading files by format, against parsing alone, and peak memory"
_KINDS = {KIND_SERVER: "server", KIND_CLIENT: "client", KIND_PRODUCER: "producer", KIND_CONSUMER: "consumer"}
_FILE_SPANS = 65_536
_CSV_COLUMNS = (
    *("trace_id", "span_id", "parent_span_id", "service", "pod", "name", "kind", "status"),
    *("start_ns", "duration_ns", "peer_service", "http_status"),
)


def run(spans: int = 262_144) -> dict[str, Any]:
    """Return rows per second, bytes per row and peak memory of each format; a row is a span, or a sample of metrics."""
    repeats = max(1, round(spans / _FILE_SPANS))
    table = next(iter(span_tables(_FILE_SPANS, batch_rows=_FILE_SPANS)))
    table = table.sort_by([("service", "ascending"), ("pod", "ascending")])
    figures: dict[str, Any] = {"rows_a_file": _FILE_SPANS}
    with tempfile.TemporaryDirectory() as folder:
        for name, (limit, write) in _FORMATS.items():
            path = Path(folder) / name
            write(table, path)
            read, parsed = (measure(repeated, path=str(path), step=step, repeats=repeats) for step in ("read", limit))
            rows = read.result["rows"]
            figures[name] = {
                "rows_per_s": rows / read.result["seconds"],
                "limit": limit,
                "limit_rows_per_s": rows / parsed.result["seconds"],
                "ratio_to_limit": parsed.result["seconds"] / read.result["seconds"],
                "bytes_per_row": path.stat().st_size / rows,
                "peak_rss_bytes": read.peak_rss_bytes,
            }
            path.unlink()
    return figures


def repeated(path: str, step: str, repeats: int) -> dict[str, float]:
    """Return the rows of a file and the processor seconds of one ``step`` over it; the first time is not counted."""
    steps: dict[str, Callable[[], int]] = {
        "read": lambda: streamed(path)["rows"],
        "upb": lambda: len(REQUESTS["traces"].FromString(Path(path).read_bytes()).resource_spans),
        "orjson": lambda: len(orjson.loads(Path(path).read_bytes())),
        "pyarrow.parquet": lambda: len(pq.read_table(path, use_threads=False)),
        "pyarrow.csv": lambda: len(_split(path, ",")),
        "pyarrow.csv at spaces": lambda: len(_split(path, " ")),
    }
    if step == "orjson":
        gc.disable()  # as the decoder does: else the limit is three times slower than it need be
    rows = steps[step]()
    before = time.process_time()
    for _ in range(repeats):
        steps[step]()
    return {"rows": rows, "seconds": (time.process_time() - before) / repeats}


def streamed(path: str) -> dict[str, int]:
    """Read a file batch by batch, as ``hypocenter ingest`` does, and return its rows and the items dropped."""
    rows = dropped = 0
    with open_source(path) as source:
        for batch in decode(source):
            rows += batch.table("spans").num_rows + batch.table("points").num_rows
            dropped += batch.tally.dropped.total()
    return {"rows": rows, "dropped": dropped}


def _split(path: str, delimiter: str) -> pa.Table:
    return pa_csv.read_csv(
        path,
        pa_csv.ReadOptions(use_threads=False, autogenerate_column_names=True),
        pa_csv.ParseOptions(delimiter=delimiter, quote_char=False if delimiter == " " else '"'),
        pa_csv.ConvertOptions(column_types={f"f{n}": pa.string() for n in range(len(_CSV_COLUMNS))}),
    )


def _write_otlp(kind: str) -> Callable[[pa.Table, Path], object]:
    return lambda table, path: path.write_bytes(encode_traces(table, kind))


def _write_query_answer(table: pa.Table, path: Path) -> None:
    path.write_bytes(orjson.dumps({"batches": orjson.loads(encode_traces(table, JSON))["resourceSpans"]}))


def _write_jaeger(table: pa.Table, path: Path) -> None:
    traces: dict[str, dict[str, Any]] = {}
    for row in table.to_pylist():
        trace_id = row["trace_id"]
        trace = traces.setdefault(trace_id, {"traceID": trace_id, "spans": [], "processes": {}})
        pod = {"key": "k8s.pod.name", "type": "string", "value": row["pod"]}
        trace["processes"][row["pod"]] = {"serviceName": row["service"], "tags": [pod]}
        tags = [{"key": "span.kind", "type": "string", "value": _KINDS.get(row["kind"], "internal")}]
        tags += [{"key": key, "type": "string", "value": orjson.loads(text)} for key, text in row["attributes"]]
        parent = {"refType": "CHILD_OF", "traceID": trace_id, "spanID": row["parent_span_id"]}
        span = {"traceID": trace_id, "spanID": row["span_id"], "operationName": row["name"], "logs": [], "tags": tags}
        span |= {"startTime": row["start_ns"] // 1000, "duration": row["duration_ns"] // 1000}
        span |= {"references": [parent] if row["parent_span_id"] else [], "processID": row["pod"]}
        trace["spans"].append(span)
    path.write_bytes(orjson.dumps({"data": list(traces.values())}))


def _write_zipkin(table: pa.Table, path: Path) -> None:
    spans = []
    for row in table.to_pylist():
        span = {"traceId": row["trace_id"], "id": row["span_id"], "name": row["name"]}
        span |= {"timestamp": row["start_ns"] // 1000, "duration": max(1, row["duration_ns"] // 1000)}
        span |= {"localEndpoint": {"serviceName": row["service"]}}
        span |= {"tags": {key: str(orjson.loads(text)) for key, text in row["attributes"]}}
        span |= {"parentId": row["parent_span_id"]} if row["parent_span_id"] else {}
        span |= {"kind": _KINDS[row["kind"]].upper()} if row["kind"] in _KINDS else {}
        span |= {"remoteEndpoint": {"serviceName": row["peer_service"]}} if row["peer_service"] else {}
        spans.append(span)
    path.write_bytes(orjson.dumps(spans))


def _write_prometheus(table: pa.Table, path: Path) -> None:
    """Write a sample a span: a thousand series or so over time, as scrapes in one file are."""
    columns = ("service", "pod", "duration_ns", "start_ns")
    rows = zip(*(table.column(name).to_pylist() for name in columns), strict=True)
    lines = [
        f'busy_seconds{{job="shop/{service}",pod="{pod}"}} {busy / 1e9} {at / 1e9:.3f}'
        for service, pod, busy, at in rows
    ]
    path.write_text("\n".join([*lines, ""]), encoding="utf-8")


# The limit of each format, and how a table of spans is written in it.
_FORMATS: dict[str, tuple[str, Callable[[pa.Table, Path], object]]] = {
    "otlp-protobuf": ("upb", _write_otlp(PROTOBUF)),
    "otlp-json": ("orjson", _write_otlp(JSON)),
    "trace-api-json": ("orjson", _write_query_answer),
    "jaeger-json": ("orjson", _write_jaeger),
    "zipkin-json": ("orjson", _write_zipkin),
    "prometheus-text": ("pyarrow.csv at spaces", _write_prometheus),
    "parquet": ("pyarrow.parquet", lambda table, path: pq.write_table(table, path, compression="zstd")),
    "csv": ("pyarrow.csv", lambda table, path: pa_csv.write_csv(table.select(_CSV_COLUMNS), path)),
}
