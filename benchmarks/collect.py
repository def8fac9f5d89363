"""Requests over gRPC into the durable store, against decoding alone and against a real Jaeger with Badger on disk."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import psutil

from hypocenter.tracer.otlp import PROTOBUF, encode_traces
from hypocenter.tracer.otlp.decode import decode_protobuf
from hypocenter.tracer.store import Store

from .generate import START_NS, span_tables
from .measure import measure

DESCRIPTION = "spans/s from OTLP/gRPC into the durable store, acknowledgement times, against decoding alone and Jaeger"
_EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
# Batch and clients: of bulk, of many small senders, of a lone one.
_LOADS = ((8192, 4), (512, 64), (512, 1))
_GROWTH = (1, 4, 16, 64)


def run(seconds: int = 20, jaeger: str | None = None) -> dict[str, Any]:
    """Return rates, processor seconds and latencies of each load; ``jaeger`` is the program of a Jaeger v2.

    Client and server share the machine, as do the two processes that decode alone: each load is measured right after
    its limit, and the ratio of the two is the figure that survives a noisy machine.
    """
    with tempfile.TemporaryDirectory(prefix="hypocenter-benchmark-") as name:
        folder = Path(name)
        figures: dict[str, Any] = {"loads": {}}
        for batch, clients in _LOADS:
            payload = write_payload(folder, batch)
            limit = _decode_only(payload, batch, seconds)
            with _collectors(folder) as (ports, processes, store):
                ours = _load(ports, processes, payload, batch, clients, seconds)
                ours |= _stored(store)
            ours |= {"decode_only_spans_per_s": limit, "ratio_to_decode_only": ours["spans_per_s"] / limit}
            if jaeger is not None:
                with _jaeger(folder, jaeger) as (ports, processes, _):
                    ours["jaeger"] = _load(ports, processes, payload, batch, clients, seconds)
            figures["loads"][f"{batch} x {clients}"] = ours
        payload = write_payload(folder, 512)
        figures["growth_with_clients"] = {}
        with _collectors(folder) as (ports, processes, _):
            for clients in _GROWTH:
                found = _load(ports, processes, payload, 512, clients, max(1, seconds // 2))
                figures["growth_with_clients"][f"clients_{clients}"] = found["spans_per_s"]
        with _collectors(folder, 2) as (ports, processes, _):
            figures["two_collectors"] = _load(ports, processes, payload, 512, 64, seconds)
    return figures


def write_payload(folder: Path, spans: int, start_ns: int = START_NS) -> Path:
    """Write a request of so many spans, grouped as an exporter groups them, and return its file."""
    table = next(iter(span_tables(8192, batch_rows=8192, start_ns=start_ns))).slice(0, spans)
    path = folder / f"{spans}.pb"
    path.write_bytes(encode_traces(table.sort_by([("service", "ascending"), ("pod", "ascending")]), PROTOBUF))
    return path


def _decode_only(payload: Path, spans: int, seconds: int) -> float:
    """Return spans per second of as many processes as there are workers, which only decode."""
    found: list[float] = []

    def one() -> None:
        found.append(measure(decode_for, path=str(payload), spans=spans, seconds=seconds).result)

    threads = [threading.Thread(target=one) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(found)


def decode_for(path: str, spans: int, seconds: int) -> float:
    """Return spans per second of decoding the requests of a file, as many at a time as one commit takes."""
    payload = Path(path).read_bytes()
    group = [payload] * max(1, min(64 // 2, (8 << 20) // len(payload)))
    decode_protobuf("traces", group, "benchmark")
    begun, done = time.perf_counter(), 0
    while time.perf_counter() - begun < seconds:
        decode_protobuf("traces", group, "benchmark")
        done += spans * len(group)
    return done / (time.perf_counter() - begun)


def _load(
    ports: list[int], processes: list[psutil.Process], payload: Path, batch: int, clients: int, seconds: int
) -> dict[str, Any]:
    before = sum(sum(one.cpu_times()[:2]) for one in processes)
    found = measure(send_for, path=str(payload), ports=ports, spans=batch, clients=clients, seconds=seconds)
    cpu = sum(sum(one.cpu_times()[:2]) for one in processes) - before
    memory = sum(one.memory_info().rss for one in processes)
    spans = found.result["spans"]
    return {**found.result, "server_cpu_us_per_span": 1e6 * cpu / max(spans, 1), "rss_bytes": memory}


def send_for(path: str, ports: list[int], spans: int, clients: int, seconds: int) -> dict[str, float]:
    """Send the request of a file from some clients, each after the answer to its last; return rate and latencies."""
    payload = Path(path).read_bytes()
    taken: list[float] = []
    refused = 0
    until = time.perf_counter() + seconds

    def one(port: int) -> None:
        nonlocal refused
        with grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
            export = channel.unary_unary(_EXPORT)
            while time.perf_counter() < until:
                begun = time.perf_counter()
                try:
                    export(payload, timeout=60)
                except grpc.RpcError:
                    refused += 1
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
    ordered = sorted(taken) or [float("nan")]
    return {
        "spans": len(taken) * spans,
        "spans_per_s": len(taken) * spans / elapsed,
        "acknowledged_p50_ms": 1000 * ordered[len(ordered) // 2],
        "acknowledged_p99_ms": 1000 * ordered[int(len(ordered) * 0.99)],
        "refused": refused,
    }


@contextmanager
def _collectors(folder: Path, count: int = 1) -> Iterator[tuple[list[int], list[psutil.Process], Path]]:
    with tempfile.TemporaryDirectory(dir=folder) as name:
        store = Path(name) / "store"
        ports, running = [], []
        try:
            for _ in range(count):
                command = [sys.executable, "-c", "from hypocenter.cli.main import main; main()", "collect"]
                command += ["--store", str(store), "--otlp-grpc", "127.0.0.1:0", "--otlp-http", "off", "--admin", "off"]
                process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
                running.append(process)
                assert process.stderr is not None
                for line in process.stderr:
                    if found := re.match(r"collect: otlp-grpc on port (\d+)", line):
                        ports.append(int(found[1]))
                    if line == "collect: ready\n":
                        break
            yield ports, [one for process in running for one in _family(process.pid)], store
        finally:
            for process in running:
                process.send_signal(signal.SIGTERM)
                process.communicate()


@contextmanager
def _jaeger(folder: Path, program: str) -> Iterator[tuple[list[int], list[psutil.Process], Path]]:
    """Run a Jaeger v2 with Badger on disk; it answers when its storage has taken the spans, and syncs later."""
    with tempfile.TemporaryDirectory(dir=folder) as name, socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
        found.close()
        badger = {"directories": {"keys": f"{name}/keys", "values": f"{name}/values"}, "ephemeral": False}
        settings = {
            "receivers": {
                "otlp": {"protocols": {"grpc": {"endpoint": f"127.0.0.1:{port}", "max_recv_msg_size_mib": 64}}}
            },
            "exporters": {"jaeger_storage_exporter": {"trace_storage": "spans"}},
            "extensions": {"jaeger_storage": {"backends": {"spans": {"badger": badger}}}},
            "service": {
                "extensions": ["jaeger_storage"],
                "telemetry": {"metrics": {"level": "none"}, "logs": {"level": "error"}},
                "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["jaeger_storage_exporter"]}},
            },
        }
        (Path(name) / "jaeger.json").write_text(json.dumps(settings))
        command = [program, "--config", f"{name}/jaeger.json"]
        with subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ}
        ) as peer:
            try:
                with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
                    grpc.channel_ready_future(channel).result(60)
                yield [port], _family(peer.pid), Path(name)
            finally:
                peer.terminate()


def _family(pid: int) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def _stored(store: Path) -> dict[str, float]:
    segments = Store(store).segments("spans")
    rows = sum(segment.rows for segment in segments)
    size = sum(segment.path.stat().st_size for segment in segments)
    return {"stored_spans": rows, "stored_bytes_per_span": size / max(rows, 1), "segments": len(segments)}
