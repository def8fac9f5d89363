"""The load of the collectors' benchmark: distinct requests, clients that send them, and their decoding alone."""

from __future__ import annotations

import itertools
import os
import threading
import time
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from hypocenter.tracer.otlp import PROTOBUF, encode_traces
from hypocenter.tracer.otlp.decode import decode_protobuf

from .generate import START_NS, span_tables
from .measure import measure

_EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
# What one commit of the collector takes.
_GROUP_BYTES, _GROUP_REQUESTS = 8 << 20, 32


def write_requests(folder: Path, batch: int, spans: int, start_ns: int = START_NS) -> Path:
    """Write ``spans`` spans as requests of ``batch``, grouped as exporters group them, and return their folder.

    All are distinct: a request sent over and over would compress to nearly nothing in a store.
    """
    made = folder / f"requests-{batch}"
    made.mkdir()
    for number, table in enumerate(span_tables(spans, batch_rows=batch, start_ns=start_ns)):
        ordered = table.sort_by([("service", "ascending"), ("pod", "ascending")])
        (made / f"{number:06d}.pb").write_bytes(encode_traces(ordered, PROTOBUF))
    return made


def read_requests(folder: str) -> list[bytes]:
    """Return the requests of a folder."""
    return [path.read_bytes() for path in sorted(Path(folder).iterdir())]


def decode_only(requests: Path, batch: int, seconds: int, *, grouped: bool = False) -> float:
    """Return spans per second of as many processes as a collector has workers, which only decode.

    They decode request by request as these arrive, or ``grouped``, as many in one call as a commit takes: only who
    makes senders wait for each other can do that.
    """
    found: list[float] = []

    def one() -> None:
        given = {"folder": str(requests), "batch": batch, "seconds": seconds, "grouped": grouped}
        found.append(measure(decode_for, **given).result)

    threads = [threading.Thread(target=one) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(found)


def decode_for(folder: str, batch: int, seconds: int, grouped: bool) -> float:
    """Return spans per second of decoding requests, one at a time or as many as one commit takes."""
    requests = read_requests(folder)
    size = max(1, min(_GROUP_REQUESTS, _GROUP_BYTES // len(requests[0]))) if grouped else 1
    groups = itertools.cycle([requests[at : at + size] for at in range(0, len(requests), size)])
    decode_protobuf("traces", next(groups), "benchmark")
    begun, done = time.perf_counter(), 0
    while time.perf_counter() - begun < seconds:
        group = next(groups)
        decode_protobuf("traces", group, "benchmark")
        done += batch * len(group)
    return done / (time.perf_counter() - begun)


def disk_alone(folder: Path, size: int, seconds: float) -> dict[str, float]:
    """Return the times that the disk takes for what a commit needs: write, fsync, rename, fsync of the folder."""
    taken, content = list[float](), os.urandom(size)
    descriptor = os.open(folder, os.O_RDONLY)
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        begun = time.perf_counter()
        with (folder / "new").open("wb", buffering=0) as file:
            file.write(content)
            os.fsync(file.fileno())
        (folder / "new").rename(folder / "whole")
        os.fsync(descriptor)
        taken.append(time.perf_counter() - begun)
    os.close(descriptor)
    return _percentiles("disk_alone", taken)


def _percentiles(what: str, seconds: list[float]) -> dict[str, float]:
    p50, p99 = np.percentile(seconds or [np.nan], [50, 99]) * 1000
    return {f"{what}_p50_ms": float(p50), f"{what}_p99_ms": float(p99)}


def send_for(folder: str, ports: list[int], batch: int, clients: int, seconds: float) -> dict[str, Any]:
    """Send requests from some clients, each after the answer to its last; return rate and times to the answer."""
    requests = itertools.cycle(read_requests(folder))
    turn, taken, refused = threading.Lock(), list[float](), [0]
    until = time.perf_counter() + seconds

    def one(port: int) -> None:
        with grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
            export = channel.unary_unary(_EXPORT)
            while time.perf_counter() < until:
                with turn:
                    payload = next(requests)
                begun = time.perf_counter()
                try:
                    export(payload, timeout=60)
                except grpc.RpcError:
                    refused[0] += 1
                    time.sleep(0.1)
                else:
                    taken.append(time.perf_counter() - begun)

    begun = time.perf_counter()
    threads = [threading.Thread(target=one, args=(ports[number % len(ports)],)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed = time.perf_counter() - begun
    sent = len(taken) * batch
    answered = _percentiles("acknowledged", taken)
    return {"spans": sent, "spans_per_s": sent / elapsed, **answered, "refused": refused[0]}
