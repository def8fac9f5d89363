"""Requests over gRPC into the durable store, against decoding alone, a real Collector and a real Jaeger."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import psutil

from hypocenter.tracer.store import Store
from hypocenter.tracer.store.compact import compact

from .collect_load import decode_only, disk_alone, send_for, write_requests
from .collect_servers import Serving, collectors, jaeger, otel_collector, size_on_disk, stop
from .measure import measure

DESCRIPTION = "spans/s from OTLP/gRPC into the durable store and times to the answer, beside a Collector and a Jaeger"
# Batch and clients: of bulk, of many small senders, of a lone one.
_LOADS = ((8192, 4), (512, 64), (512, 1))
_GROWTH = (1, 2, 4, 8, 16, 32, 64)


def run(
    seconds: int = 20, spans: int = 524_288, collector: str | None = None, jaeger: str | None = None
) -> dict[str, Any]:
    """Return rates, processor seconds, times to the answer and bytes on disk of each load.

    ``spans`` are distinct, then sent again; ``collector`` and ``jaeger`` are programs, built as
    ``go build -C tests/real/peers/collector -o PROGRAM .`` and
    ``go build -C tests/real/peers/jaeger -o PROGRAM github.com/jaegertracing/jaeger/cmd/jaeger``. Clients and server
    share the machine, as do the two processes that decode alone: each load is measured right after its limit, and the
    ratio of the two is the figure that survives a noisy machine. We answer when the spans are synced to the disk;
    Jaeger when its storage has taken them; the Collector's file exporter never syncs.
    """
    with tempfile.TemporaryDirectory(prefix="hypocenter-benchmark-") as name:
        folder = Path(name)
        requests = {batch: write_requests(folder, batch, spans) for batch in sorted({batch for batch, _ in _LOADS})}
        figures: dict[str, Any] = {"loads": {}, "growth_with_clients": {}}
        for batch, clients in _LOADS:
            given = (requests[batch], batch, clients, seconds)
            limits = {
                "decode_only": decode_only(requests[batch], batch, max(1, seconds // 2)),
                "decode_only_in_groups": decode_only(requests[batch], batch, max(1, seconds // 2), grouped=True),
            }
            with collectors(folder) as serving:
                ours = _stored(serving, _load(serving, *given))
            if clients == 1:
                # What a lone sender waits for besides its own decoding.
                ours |= disk_alone(folder, round(ours["stored_bytes_per_span"] * batch), seconds / 2)
            ours |= {f"{name}_spans_per_s": limit for name, limit in limits.items()}
            ours |= {f"ratio_to_{name}": ours["spans_per_s"] / limit for name, limit in limits.items()}
            for peer, program, start in (("collector", collector, otel_collector), ("jaeger", jaeger, _jaeger)):
                if program is not None:
                    with start(folder, program) as serving:
                        ours[peer] = _kept(serving, _load(serving, *given))
            figures["loads"][f"{batch} x {clients}"] = ours
        with collectors(folder) as serving:
            for clients in _GROWTH:
                found = _load(serving, requests[512], 512, clients, max(1, seconds // 2))
                kept = ("spans_per_s", "acknowledged_p50_ms", "acknowledged_p99_ms")
                figures["growth_with_clients"][f"clients_{clients}"] = {key: found[key] for key in kept}
        with collectors(folder, 2) as serving:
            figures["two_collectors"] = _stored(serving, _load(serving, requests[512], 512, 64, seconds))
    return figures


_jaeger = jaeger  # the option of the same name hides it


def _load(serving: Serving, requests: Path, batch: int, clients: int, seconds: int) -> dict[str, Any]:
    before = _processor_s(serving.processes)
    given = {"folder": str(requests), "ports": serving.ports, "batch": batch, "clients": clients, "seconds": seconds}
    found = measure(send_for, **given).result
    cpu_s = _processor_s(serving.processes) - before
    memory = sum(one.memory_info().rss for one in serving.processes)
    return {**found, "server_cpu_us_per_span": 1e6 * cpu_s / max(found["spans"], 1), "rss_bytes": memory}


def _processor_s(processes: list[psutil.Process]) -> float:
    return sum(sum(one.cpu_times()[:2]) for one in processes)


def _stored(serving: Serving, load: dict[str, Any]) -> dict[str, Any]:
    """Return a load with what our store holds of it, and its bytes a span: as it is, and after compaction."""
    stop(serving)
    store = Store(serving.folder)
    rows, segments, size = _rows(store), len(store.segments("spans")), _bytes(store)
    compact(store, live=True)
    return load | {
        "acknowledged_but_missing": max(0, load["spans"] - rows),
        "segments": segments,
        "stored_bytes_per_span": size / max(rows, 1),
        "compacted_bytes_per_span": _bytes(store) / max(rows, 1),
    }


def _rows(store: Store) -> int:
    return sum(segment.rows for segment in store.segments("spans"))


def _bytes(store: Store) -> int:
    return sum(segment.path.stat().st_size for segment in store.segments("spans"))


def _kept(serving: Serving, load: dict[str, Any]) -> dict[str, Any]:
    """Return a load with the bytes a span that a peer leaves on the disk once it has ended."""
    stop(serving)
    return load | {"stored_bytes_per_span": size_on_disk(serving.folder) / max(load["spans"], 1)}
