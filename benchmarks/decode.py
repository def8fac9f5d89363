"""Decoding of OTLP traces against parsing alone, which every decoder must do and which yields no table yet."""

from __future__ import annotations

import gc
import itertools
import tempfile
import time
from pathlib import Path
from typing import Any

import orjson

from hypocenter.tracer.otlp import JSON, PROTOBUF, encode_traces
from hypocenter.tracer.otlp.arrow import is_available
from hypocenter.tracer.otlp.decode import REQUESTS, decode, decode_protobuf

from .generate import span_tables
from .measure import measure

DESCRIPTION = "spans/s of decoding OTLP traces, by encoding and route, against parsing alone"
REQUEST_SPANS = 8192
_GROWTH_SPANS = 16_384
_GROWTH = (1, 2, 4)
_ROUTES = {"ptars": PROTOBUF, "protobuf": PROTOBUF, "json": JSON}
_LIMITS = {PROTOBUF: "parse", JSON: "orjson"}
_SUFFIXES = {PROTOBUF: "pb", JSON: "json"}


def run(spans: int = 1_000_000) -> dict[str, Any]:
    """Return spans per second of each route and of its limit, peak memory, and growth with the size of a request."""
    repeats = max(1, round(spans / REQUEST_SPANS))
    routes = {name: kind for name, kind in _ROUTES.items() if name != "ptars" or is_available()}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sizes = _write(folder, 1)
        limits = {kind: _rate(folder, limit, kind, repeats) for kind, limit in _LIMITS.items()}
        figures: dict[str, Any] = {
            "spans": repeats * REQUEST_SPANS,
            "bytes_per_span": {kind: size / REQUEST_SPANS for kind, size in sizes.items()},
            "limit": limits,
        }
        for route, kind in routes.items():
            figures[route] = _rate(folder, route, kind, repeats)
            figures[route]["ratio_to_limit"] = figures[route]["spans_per_s"] / limits[kind]["spans_per_s"]
        seconds: dict[str, list[float]] = {route: [] for route in routes}
        for factor in _GROWTH:
            _write(folder, factor, _GROWTH_SPANS)
            for route, kind in routes.items():
                seconds[route].append(_measured(folder, route, kind, 1)["best_seconds"])
    growth = {
        route: [after / before for before, after in itertools.pairwise(found)] for route, found in seconds.items()
    }
    return figures | {"growth_per_doubling_of_a_request": growth}


def _write(folder: Path, factor: int, spans: int = REQUEST_SPANS) -> dict[str, int]:
    """Write one request in both encodings and return their sizes; spans stand by resource, as exporters send them."""
    rows = factor * spans
    table = next(iter(span_tables(rows, batch_rows=rows))).sort_by([("service", "ascending"), ("pod", "ascending")])
    for kind, suffix in _SUFFIXES.items():
        (folder / f"request.{suffix}").write_bytes(encode_traces(table, kind))
    return {kind: (folder / f"request.{suffix}").stat().st_size for kind, suffix in _SUFFIXES.items()}


def _rate(folder: Path, step: str, kind: str, repeats: int) -> dict[str, Any]:
    measured = _measured(folder, step, kind, repeats)
    return {"spans_per_s": repeats * REQUEST_SPANS / measured["seconds"], "peak_rss_bytes": measured["peak_rss_bytes"]}


def _measured(folder: Path, step: str, kind: str, repeats: int) -> dict[str, Any]:
    measured = measure(repeated, path=str(folder / f"request.{_SUFFIXES[kind]}"), step=step, repeats=repeats)
    return {"peak_rss_bytes": measured.peak_rss_bytes, **measured.result}


def repeated(path: str, step: str, repeats: int) -> dict[str, float]:
    """Return the processor seconds of doing ``step`` on the bytes of a file; a first time, not counted, warms up."""
    payload = Path(path).read_bytes()
    steps = {
        "parse": lambda: REQUESTS["traces"].FromString(payload),
        "orjson": lambda: orjson.loads(payload),
        "json": lambda: decode("traces", payload, JSON),
        "ptars": lambda: decode_protobuf("traces", [payload], "benchmark", route="ptars"),
        "protobuf": lambda: decode_protobuf("traces", [payload], "benchmark", route="protobuf"),
    }
    if step == "orjson":
        gc.disable()  # as the decoder does: else the limit is three times slower than it need be
    steps[step]()
    times = []
    for _ in range(max(repeats, 3)):
        before = time.process_time()
        steps[step]()
        times.append(time.process_time() - before)
    return {"seconds": sum(times) / len(times) * repeats, "best_seconds": min(times)}
