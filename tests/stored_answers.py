"""A Jaeger and a Prometheus that answer from a recorded incident, moved to end now, so that a notebook runs offline."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import small_incident as small

from hypocenter.tracer.otlp import encode_traces
from hypocenter.tracer.otlp.whole_ids import with_whole_ids
from hypocenter.tracer.window import parse_time

# Series of the small incident by the names under which a Prometheus would be found to have them.
NAMES = {"cpu": "process_cpu_usage", "memory": "process_resident_memory_bytes"}


@contextmanager
def servers() -> Iterator[dict[str, str]]:
    """Yield the addresses of both, by the environment variables of the notebook."""
    sys.path.append(str(Path(__file__).parent / "tracer"))
    from answering import serving

    moved_ns = time.time_ns() - small.END_NS
    batch = small.telemetry()
    spans = batch.table("spans")
    starts = pc.add(spans["start_ns"], moved_ns)
    spans = spans.set_column(spans.schema.get_field_index("start_ns"), spans.schema.field("start_ns"), starts)
    with serving(_jaeger(spans)) as jaeger, serving(_prometheus(batch.table("points"), moved_ns)) as prometheus:
        yield {"JAEGER_URL": jaeger, "PROMETHEUS_URL": prometheus, "SINCE": "-10m"}


def _jaeger(spans: pa.Table) -> Any:
    def answer(path: str, params: dict[str, str]) -> tuple[int, Any]:
        if path == "/api/v3/services":
            return 200, {"services": sorted(set(spans["service"].to_pylist()))}
        if path != "/api/v3/traces":
            return 404, {}
        low, high = (parse_time(params[f"query.start_time_{end}"]) for end in ("min", "max"))
        mine = pc.and_(pc.greater_equal(spans["start_ns"], low), pc.less_equal(spans["start_ns"], high))
        mine = pc.and_(mine, pc.equal(spans["service"], params["query.service_name"]))
        ids = spans.filter(mine)["trace_id"].unique()[: int(params["query.num_traces"])]
        found = spans.filter(pc.is_in(spans["trace_id"], ids))
        if not found.num_rows:
            return 404, {}
        return 200, encode_traces(with_whole_ids(found)[0], "application/json")

    return answer


def _prometheus(points: pa.Table, moved_ns: int) -> Any:
    samples: dict[str, list[list[Any]]] = {name: [] for name in NAMES.values()}
    for row in points.to_pylist():
        samples[NAMES[row["series_id"]]].append([(row["time_ns"] + moved_ns) / 1e9, str(row["value"])])

    def answer(path: str, params: dict[str, str]) -> tuple[int, Any]:
        query = params.get("query", "")
        if path == "/api/v1/label/__name__/values":
            return success(list(samples))
        if path == "/api/v1/query" and query.endswith("ms]"):
            last, length = float(params["time"]), float(query.rpartition("[")[2].removesuffix("ms]")) / 1000
            held = {name: [v for v in found if last - length < v[0] <= last] for name, found in samples.items()}
            labels = {"job": "payment", "instance": "10.0.0.1:80"}
            return success(
                {
                    "resultType": "matrix",
                    "result": [
                        {"metric": {"__name__": name} | labels, "values": values}
                        for name, values in held.items()
                        if values and name in query
                    ],
                }
            )
        return success({"resultType": "vector", "result": []} if path == "/api/v1/query" else {})

    def success(data: Any) -> tuple[int, Any]:
        return 200, {"status": "success", "data": data}

    return answer
