"""An alert storm through the hook: times from POST to notification, memory, and how many incidents it sees."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import networkx as nx
import numpy as np
import pandas as pd
import pyarrow as pa

from hypocenter.semconv import KIND_SERVER
from hypocenter.tracer.batch import Batch
from hypocenter.tracer.schema import SPANS
from hypocenter.tracer.store import Store
from hypocenter.tracer.window import SECOND_NS, Window, to_rfc3339

from .generate import span_tables

DESCRIPTION = "a storm of alerts through the hook: time to notification, memory, incidents recognised"

_SINCE_S = 120  # from the onset to the storm
_SLOWER_NS = 400_000_000
_SENDERS = 50


def run(
    spans: int = 300_000, services: int = 1000, alerts: int = 2000, alerting: int = 300, seconds: float = 30.0
) -> dict[str, Any]:
    """Return seconds from POST to notification, the share that was enriched, incidents, and the cost.

    ``last_sent_late_s`` tells how far the senders fell behind, on a machine that is too busy or for want of answers.
    ``peak_rss_bytes`` and ``cpu_s`` (during the storm) are of the hook and its worker together.
    """
    with tempfile.TemporaryDirectory(prefix="hypocenter-benchmark-") as name:
        folder = Path(name)
        origin, hurt = _incident(folder / "store", spans, services)
        firing = [hurt[n % min(alerting, len(hurt))] for n in range(alerts)]
        with _receiver() as (url, arrived), _hook(folder, url) as (address, process):
            peak = _Peak(process.pid)
            sent, late_s = asyncio.run(_storm(address, firing, seconds))
            deadline = time.time() + 60
            while len(arrived) < alerts and time.time() < deadline:
                time.sleep(0.1)
            memory, cpu_s = peak.stop()
            incidents = httpx.get(f"{address}/incidents", headers={"Accept": "application/json"}, timeout=30).json()
    took = np.array([arrived[n][0] - at for n, at in sent.items() if n in arrived])
    enriched = [n for n in arrived if arrived[n][1]]
    return {
        "alerts": alerts,
        "alerting_services": len(set(firing)),
        "arrived": len(arrived),
        "last_sent_late_s": late_s,
        "post_to_notification_s": {f"p{q}": float(np.quantile(took, q / 100)) for q in (50, 90, 99, 100)},
        "enriched_share": len(enriched) / alerts,
        "incidents": len(incidents),
        "origin_is_right": bool(incidents) and (incidents[0]["finding"]["origin"] or {}).get("service") == origin,
        "peak_rss_bytes": memory,
        "cpu_s": cpu_s,
    }


def _incident(path: Path, spans: int, services: int) -> tuple[str, list[str]]:
    """Fill a store that ends now, in which one service turned slow; return it and all whom that hurts."""
    length_s = 1000
    start = time.time_ns() - length_s * SECOND_NS
    table = pa.concat_tables(span_tables(spans, services=services, rate_per_s=spans // length_s, start_ns=start))
    frame = table.select(["span_id", "parent_span_id", "service", "kind", "start_ns"]).to_pandas()
    parents = frame.merge(frame, left_on="parent_span_id", right_on="span_id", suffixes=("", "_of"))
    calls = parents[parents.service != parents.service_of].groupby(["service_of", "service"]).size()
    graph = nx.DiGraph(list(calls.index))
    traffic = frame[frame.kind == KIND_SERVER].service.value_counts()
    # Busy enough to be seen, and with as many as possible above it.
    busy = traffic.index[:100]
    origin = str(max(busy, key=lambda s: len(nx.ancestors(graph, s)) if s in graph else 0))
    onset = int(frame.start_ns.max()) - _SINCE_S * SECOND_NS
    slow = (frame.service == origin) & (frame.kind == KIND_SERVER) & (frame.start_ns >= onset)
    while True:  # who waits for a slow span is slow as well
        above = slow | frame.span_id.isin(set(frame.parent_span_id[slow].dropna()))
        if (above == slow).all():
            break
        slow = above
    durations = pd.Series(table["duration_ns"].to_numpy()) + slow.to_numpy() * _SLOWER_NS
    place = SPANS.get_field_index("duration_ns")
    table = table.set_column(place, SPANS.field(place), pa.array(durations, pa.int64()))
    store = Store(path, create=True)
    for at in range(0, table.num_rows, 65_536):
        store.append(Batch({"spans": table.slice(at, 65_536).combine_chunks()}))
    from hypocenter.graph.cache import rollups

    held = store.bounds("spans") or Window(0, 1)
    rollups(store, held)
    return origin, [origin, *sorted(nx.ancestors(graph, origin) - {"external"})]


async def _storm(address: str, firing: list[str], seconds: float) -> tuple[dict[int, float], float]:
    """Post the alerts evenly over ``seconds``; return when each was posted, and the seconds that the last was late.

    A sender has one connection: a client that shares many among all takes more time than what it measures.
    """
    sent: dict[int, float] = {}
    numbers = iter(range(len(firing)))
    begin, late_s = time.monotonic(), 0.0
    starts = to_rfc3339(time.time_ns())

    async def sender() -> None:
        nonlocal late_s
        async with httpx.AsyncClient(timeout=120, verify=False, trust_env=False) as client:
            for number in numbers:
                content = _webhook(number, firing[number], starts)
                due = begin + seconds * number / len(firing)
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                late_s = max(late_s, time.monotonic() - due)
                sent[number] = time.time()
                for _ in range(5):  # as Alertmanager does
                    with contextlib.suppress(httpx.TransportError):
                        (await client.post(f"{address}/alertmanager", content=content)).raise_for_status()
                        break

    await asyncio.gather(*(sender() for _ in range(_SENDERS)))
    return sent, late_s


def _webhook(number: int, service: str, starts: str) -> bytes:
    """Return a notification of one firing alert."""
    alert = {
        "status": "firing",
        "labels": {"alertname": f"A{number}", "service": service},
        "annotations": {},
        "startsAt": starts,
        "fingerprint": str(number),
    }
    return json.dumps({"version": "4", "status": "firing", "groupKey": f"{{}}:{number}", "alerts": [alert]}).encode()


@contextlib.contextmanager
def _receiver() -> Iterator[tuple[str, dict[int, tuple[float, bool]]]]:
    """Yield the address of a receiver and, by alert, when its notification came first and whether it was enriched."""
    arrived: dict[int, tuple[float, bool]] = {}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            at = time.time()
            got = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            annotations = got.get("commonAnnotations", {})
            arrived.setdefault(int(got["alerts"][0]["fingerprint"]), (at, "hypocenter_summary" in annotations))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128  # as servers have it: many connections may come at once

    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", arrived
    finally:
        server.shutdown()
        server.server_close()


@contextlib.contextmanager
def _hook(folder: Path, forward: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        listen = f"127.0.0.1:{probe.getsockname()[1]}"
    command = [sys.executable, "-c", "from hypocenter.cli.main import main; main()", "hook", "--listen", listen]
    command += ["--store", str(folder / "store"), "--forward", forward, "--state", str(folder / "state")]
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            while process.poll() is None:
                try:
                    ready = httpx.get(f"http://{listen}/readyz", timeout=5).json()
                    if ready["enrichment"] and ready["names"]:
                        break
                except httpx.HTTPError:
                    pass
                time.sleep(0.1)
            yield f"http://{listen}", process
        finally:
            process.send_signal(signal.SIGTERM)


class _Peak:
    """The peak of the resident memory of a process and its children, looked at four times a second, and their time."""

    def __init__(self, pid: int) -> None:
        self._pid, self._peak, self._stop = pid, 0, threading.Event()
        self._seconds: dict[int, float] = {}
        self._before = self._look()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> tuple[int, float]:
        """Return the peak in bytes, and the processor time since the beginning in seconds."""
        self._stop.set()
        self._thread.join()
        return self._peak, self._look() - self._before

    def _watch(self) -> None:
        while not self._stop.wait(0.25):
            self._look()

    def _look(self) -> float:
        import psutil

        with contextlib.suppress(psutil.NoSuchProcess):  # a worker that is being replaced
            leader = psutil.Process(self._pid)
            family = [leader, *leader.children(recursive=True)]
            self._peak = max(self._peak, sum(process.memory_info().rss for process in family))
            self._seconds |= {process.pid: sum(process.cpu_times()[:2]) for process in family}
        return sum(self._seconds.values())
