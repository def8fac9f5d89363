"""The servers of the collectors' benchmark, with storage on a disk: ours, an OpenTelemetry Collector, a Jaeger."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import psutil


@dataclass(frozen=True, slots=True)
class Serving:
    """Servers of one storage: their OTLP/gRPC ports, all their processes, and the folder of what they store."""

    ports: list[int]
    processes: list[psutil.Process]
    folder: Path


@contextmanager
def collectors(folder: Path, count: int = 1) -> Iterator[Serving]:
    """Run collectors of one store; each answers when the spans are durable."""
    ports: list[int] = []
    with tempfile.TemporaryDirectory(dir=folder) as name:
        store, running = Path(name) / "store", list[subprocess.Popen[str]]()
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
            yield Serving(ports, [one for process in running for one in _family(process.pid)], store)
        finally:
            for process in running:
                process.send_signal(signal.SIGTERM)
                process.communicate()


@contextmanager
def otel_collector(folder: Path, program: str) -> Iterator[Serving]:
    """Run an OpenTelemetry Collector whose file exporter writes OTLP/JSON; it answers before that, and never syncs."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        exporter = {"file": {"path": f"{name}/spans.jsonl"}}
        with _peer(Path(name), program, exporter, {}) as serving:
            yield serving


@contextmanager
def jaeger(folder: Path, program: str) -> Iterator[Serving]:
    """Run a Jaeger v2 with Badger on disk; it answers when its storage has taken the spans, and syncs later."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        badger = {"directories": {"keys": f"{name}/keys", "values": f"{name}/values"}, "ephemeral": False}
        extension = {"jaeger_storage": {"backends": {"spans": {"badger": badger}}}}
        with _peer(Path(name), program, {"jaeger_storage_exporter": {"trace_storage": "spans"}}, extension) as serving:
            yield serving


@contextmanager
def _peer(folder: Path, program: str, exporter: dict[str, Any], extensions: dict[str, Any]) -> Iterator[Serving]:
    """Run what takes the Collector's configuration: OTLP in, one exporter out."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    grpc_door = {"endpoint": f"127.0.0.1:{port}", "max_recv_msg_size_mib": 64}
    settings = {
        "receivers": {"otlp": {"protocols": {"grpc": grpc_door}}},
        "exporters": exporter,
        "extensions": extensions,
        "service": {
            "extensions": list(extensions),
            "telemetry": {"metrics": {"level": "none"}, "logs": {"level": "error"}},
            "pipelines": {"traces": {"receivers": ["otlp"], "exporters": list(exporter)}},
        },
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    command = [program, "--config", f"{folder}/settings.json"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as peer:
        try:
            with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
                grpc.channel_ready_future(channel).result(60)
            yield Serving([port], _family(peer.pid), folder)
        finally:
            peer.terminate()


def stop(serving: Serving) -> None:
    """End the servers, so that all they took is on the disk."""
    parents = [one for one in serving.processes if one.ppid() not in {other.pid for other in serving.processes}]
    for one in parents:
        one.send_signal(signal.SIGTERM)
    psutil.wait_procs(parents, timeout=120)


def size_on_disk(folder: Path) -> int:
    """Return the bytes that a folder takes, holes of files not counted."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


def _family(pid: int) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]
