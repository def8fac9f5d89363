"""What tells of pods, nodes and servers: an exporter in place of those that a cluster has."""

from __future__ import annotations

import contextlib
import os
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import psycopg
import redis

from ..metrics import MetricsRecording
from ..plan import Pod
from ..postgres import connection_string
from ..scrape import Scraper, Target
from .cluster import MEMORY_LIMIT_BYTES, Cluster, Running
from .wiring import BANK, CACHE, DATABASE, METRICS_PORT, NODES, SERVICES

EXPORTER_PORT = 9100


class Exporter:
    """What cAdvisor, kube-state-metrics, node-exporter and the exporters of PostgreSQL and Redis would serve."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._pods = _Containers(MetricsRecording())
        self._lock = threading.Lock()
        self._database: psycopg.Connection[Any] | None = None
        self._redis = redis.Redis(host=cluster.address(CACHE), socket_timeout=0.5, socket_connect_timeout=0.5)
        exporter = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = exporter.text().encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/openmetrics-text; version=1.0.0; charset=utf-8")
                self.end_headers()
                with contextlib.suppress(BrokenPipeError):  # Prometheus may have given up waiting
                    self.wfile.write(body)

            def log_message(self, *_arguments: Any) -> None:
                pass

        self._server = ThreadingHTTPServer((cluster.network.host, EXPORTER_PORT), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Exporter:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._pods.close()

    def text(self) -> str:
        """Return one scrape."""
        with self._lock:
            recording, now = self._pods.begin(), time.time()
            for run in list(self._cluster.running.values()):
                if run.pod.service != BANK:
                    self._pod(recording, run, now)
            for node in NODES:
                self._node(recording, node, now)
            self._servers(recording, now)
            return recording.to_text()

    def _pod(self, recording: MetricsRecording, run: Running, now: float) -> None:
        labels = Target(run.pod, run.pid, METRICS_PORT).labels
        if run.due_s is None and run.pid:
            self._pods.container(run, labels, now)
        restarts = "Restarts of the container"
        recording.add("kube_pod_container_status_restarts", "counter", restarts, labels, run.restarts, now)
        recording.add("kube_pod_status_ready", "gauge", "1 while ready", labels, float(run.is_ready), now)
        if run.reason:
            why = {**labels, "reason": run.reason}
            name = "kube_pod_container_status_last_terminated_reason"
            recording.add(name, "gauge", "Why it ended last", why, 1.0, now)
        if self._cluster.network.isolated:
            interfaces = Path(f"/proc/{self._cluster.network.holder(run.pod.name)}/net/dev")
            for line in interfaces.read_text().splitlines() if interfaces.exists() else ():
                if line.strip().startswith("eth0:"):
                    numbers = line.split(":")[1].split()
                    for name, column in (("receive_bytes", 0), ("transmit_bytes", 8)):
                        metric = f"container_network_{name}"
                        recording.add(metric, "counter", "Bytes of the pod", labels, float(numbers[column]), now)
        volume = Path(f"/proc/{run.pid}/root{run.folder}/volume")
        with contextlib.suppress(OSError):
            if any(endpoint == ["journal"] for steps in _steps(run.pod) for endpoint in steps):
                used = os.statvfs(volume)
                free = float(used.f_bavail * used.f_frsize)
                recording.add("kubelet_volume_stats_available_bytes", "gauge", "Free bytes", labels, free, now)
                share = 1 - used.f_bavail / used.f_blocks
                recording.add("k8s_volume_utilization_ratio", "gauge", "Share in use", labels, share, now)

    def _node(self, recording: MetricsRecording, node: str, now: float) -> None:
        cores = sorted(os.sched_getaffinity(0))
        mine = cores[NODES.index(node) :: len(NODES)] or cores
        times = psutil.cpu_times(percpu=True)
        labels = {"job": "node-exporter", "instance": node, "node": node}
        for mode in ("user", "system", "idle", "iowait"):
            seconds = sum(getattr(times[core], mode) for core in mine)
            recording.add("node_cpu_seconds", "counter", "Time by mode", {**labels, "mode": mode}, seconds, now)
        memory = psutil.virtual_memory()
        recording.add("node_memory_MemAvailable_bytes", "gauge", "Memory", labels, float(memory.available), now)
        recording.add("node_load1", "gauge", "Load", labels, os.getloadavg()[0], now)

    def _servers(self, recording: MetricsRecording, now: float) -> None:
        database, cache = (self._cluster.of(name)[0].pod for name in (DATABASE, CACHE))
        try:
            if self._database is None or self._database.closed:
                where = connection_string(5432, address=self._cluster.address(DATABASE))
                self._database = psycopg.connect(where, autocommit=True, connect_timeout=1)
            self._pods.database(Target(database, 0, 0).labels, self._database, now)
        except psycopg.Error:
            self._database = None
        with contextlib.suppress(redis.RedisError):
            found: Any = self._redis.info()
            labels = Target(cache, 0, 0).labels
            for name, key in (
                ("keyspace_hits", "counter"),
                ("keyspace_misses", "counter"),
                ("evicted_keys", "counter"),
            ):
                recording.add(f"redis_{name}", key, "Of Redis", labels, float(found[name]), now)
            for name in ("connected_clients", "used_memory"):
                recording.add(f"redis_{name}", "gauge", "Of Redis", labels, float(found[name]), now)
            keys = float(found.get("db0", {}).get("keys", 0))
            recording.add("redis_db_keys", "gauge", "Keys", labels, keys, now)


class _Containers(Scraper):
    """The readings of pods and database, a fresh recording each time; straight from /proc, since done so often."""

    def begin(self) -> MetricsRecording:
        """Return the recording that `container` and `database` write to from now on."""
        self._recording = MetricsRecording()
        # One walk through the system's processes for all pods.
        self._below: dict[int, list[int]] = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                self._below.setdefault(int(_stat(int(stat.parent.name))[1]), []).append(int(stat.parent.name))
        return self._recording

    def container(self, run: Running, labels: dict[str, str], now: float) -> None:
        """Add what cAdvisor has of a container, of the pod's first process and all below it."""
        pids, pending = [], [run.pid]
        while pending:
            pids.append(pending.pop())
            pending += self._below.get(pids[-1], ())
        cpu_s = memory = files = threads = 0.0
        for pid in pids:
            with contextlib.suppress(OSError):
                stat = _stat(pid)
                cpu_s += (int(stat[11]) + int(stat[12]) + int(stat[13]) + int(stat[14])) / _TICKS
                resident, shared = Path(f"/proc/{pid}/statm").read_text().split()[1:3]
                memory += (int(resident) - int(shared)) * _PAGE
                threads += int(stat[17])
                files += len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208
        add = self._recording.add
        add("container_cpu_usage_seconds", "counter", "CPU time consumed", labels, cpu_s, now, "seconds")
        add("container_memory_rss", "gauge", "Resident memory in bytes", labels, memory, now)
        add("container_file_descriptors", "gauge", "Open file descriptors", labels, files, now)
        add("container_threads", "gauge", "Threads", labels, threads, now)
        with contextlib.suppress(OSError):
            used = re.search(r"TCP: inuse (\d+)", Path(f"/proc/{run.pid}/net/sockstat").read_text())
            add("container_sockets", "gauge", "Sockets in use", labels, float(used[1]) if used else 0.0, now)
        before = self._last_cpu.get(run.pid)
        self._last_cpu[run.pid] = (now, cpu_s)
        if before:
            busy = max(0.0, cpu_s - before[1]) / (now - before[0])
            name = "k8s_pod_cpu_limit_utilization_ratio"
            add(name, "gauge", "CPU usage over its limit of a core, 0 to 1", labels, busy, now, "ratio")
        name = "k8s_pod_memory_limit_utilization_ratio"
        share = memory / MEMORY_LIMIT_BYTES
        add(name, "gauge", "Memory usage over its limit, 0 to 1", labels, share, now, "ratio")


_TICKS, _PAGE = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/<pid>/stat after the name: the state first."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _steps(pod: Pod) -> list[list[Any]]:
    wired = SERVICES.get(pod.service)
    return list(wired.endpoints.values()) if wired else []
