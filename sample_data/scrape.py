"""What is scraped every few seconds: each replica's own metrics, its process as a container, and the database."""

from __future__ import annotations

import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx
import psutil
import psycopg

from .metrics import MetricsRecording
from .plan import Pod
from .shop.replica import NAMESPACE
from .wiring import DATABASE

_TIMEOUT_S = 2.0
# Cores. The interpreter lock holds a service to one; nothing holds the database, whose limit is that of the machine.
CPU_LIMIT = {DATABASE: 2.0}
MEMORY_LIMIT_BYTES = 512 * 2**20


@dataclass(frozen=True, slots=True)
class Target:
    """A pod to scrape: ``pid`` leads its processes, ``port`` serves metrics unless it is the database."""

    pod: Pod
    pid: int
    port: int

    @property
    def labels(self) -> dict[str, str]:
        """The labels that Prometheus would give the target."""
        return {
            "job": f"{NAMESPACE}/{self.pod.service}",
            "instance": self.pod.instance,
            "namespace": NAMESPACE,
            "pod": self.pod.name,
            "node": self.pod.node,
        }


class Scraper:
    """Scrapes into a `MetricsRecording`; a target that does not answer leaves ``up`` 0 and nothing else."""

    def __init__(self, recording: MetricsRecording) -> None:
        self._recording = recording
        self._client = httpx.Client(timeout=_TIMEOUT_S)
        self._pool = ThreadPoolExecutor(max_workers=8)
        self._last_cpu: dict[int, tuple[float, float]] = {}

    def scrape(self, targets: Iterable[Target], database: psycopg.Connection[Any]) -> None:
        """Scrape every target once."""
        listed = list(targets)
        now = time.time()
        for target, text in zip(listed, self._pool.map(self._fetch, listed), strict=True):
            if text:
                self._recording.add_exposition(text, target.labels, now)
            up = float(text is not None)
            self._recording.add("up", "gauge", "1 if the target answered the scrape", target.labels, up, now)
            self._container(target, time.time())
        self.database(next(t for t in listed if t.pod.service == DATABASE).labels, database, now)

    def close(self) -> None:
        """Close the connections."""
        self._pool.shutdown()
        self._client.close()

    def _fetch(self, target: Target) -> str | None:
        if target.pod.service == DATABASE:
            return ""
        try:
            answer = self._client.get(
                f"http://127.0.0.1:{target.port}/metrics", headers={"Accept": "application/openmetrics-text"}
            )
        except httpx.HTTPError:
            return None
        return answer.text if answer.status_code == 200 else None

    def _container(self, target: Target, now: float) -> None:
        """Add the metrics that cAdvisor, kubelet and kube-state-metrics have of a pod, read from its processes."""
        try:
            leader = psutil.Process(target.pid)
            family = [leader, *leader.children(recursive=True)]
            cpu_s = memory = sockets = files = threads = 0.0
            for process in family:
                with process.oneshot():
                    times = process.cpu_times()
                    cpu_s += times.user + times.system
                    used = process.memory_info()
                    memory += used.rss - used.shared  # shared buffers count for nobody, as in cAdvisor
                    sockets += len(process.net_connections(kind="inet"))
                    files += process.num_fds()
                    threads += process.num_threads()
            # Those that ended meanwhile count with their parent.
            cpu_s += leader.cpu_times().children_user + leader.cpu_times().children_system
        except psutil.NoSuchProcess:
            return
        limit = CPU_LIMIT.get(target.pod.service, 1.0)
        add, labels = self._recording.add, target.labels
        add("container_cpu_usage_seconds", "counter", "CPU time consumed", labels, cpu_s, now, "seconds")
        add("container_memory_rss", "gauge", "Resident memory in bytes", labels, memory, now)
        add("container_sockets", "gauge", "Open sockets", labels, sockets, now)
        add("container_file_descriptors", "gauge", "Open file descriptors", labels, files, now)
        add("container_threads", "gauge", "Threads", labels, threads, now)
        limits = {**labels, "resource": "cpu", "unit": "core"}
        add("kube_pod_container_resource_limits", "gauge", "Limit of a resource", limits, limit, now)
        before = self._last_cpu.get(target.pid)
        self._last_cpu[target.pid] = (now, cpu_s)
        if before:
            busy = max(0.0, cpu_s - before[1]) / (now - before[0]) / limit
            name = "k8s_pod_cpu_limit_utilization_ratio"
            add(name, "gauge", "CPU usage over its limit, 0 to 1", labels, busy, now, "ratio")
        share = memory / MEMORY_LIMIT_BYTES
        name = "k8s_pod_memory_limit_utilization_ratio"
        add(name, "gauge", "Memory usage over its limit, 0 to 1", labels, share, now, "ratio")

    def database(self, labels: dict[str, str], database: psycopg.Connection[Any], now: float) -> None:
        """Add what the exporter of PostgreSQL has, under its names."""
        with database.cursor() as cursor:
            cursor.execute(
                "select xact_commit, xact_rollback, tup_returned, tup_fetched, blks_hit, blks_read"
                " from pg_stat_database where datname = 'shop'"
            )
            for column, row in zip(cursor.description or (), cursor.fetchone() or (), strict=True):
                name = f"pg_stat_database_{column.name}"
                self._recording.add(name, "counter", "Of the database", {**labels, "datname": "shop"}, row, now)
            cursor.execute(
                "select state, count(a.pid) from unnest(array['active', 'idle', 'idle in transaction']) as state"
                " left join pg_stat_activity a using (state) where a.pid is distinct from pg_backend_pid() group by 1"
                " order by 1"
            )
            for state, count in cursor.fetchall():
                named = {**labels, "datname": "shop", "state": state}
                self._recording.add("pg_stat_activity_count", "gauge", "Connections by state", named, count, now)
            cursor.execute("select count(*) from pg_locks where not granted")
            waiting = float((cursor.fetchone() or (0,))[0])
            self._recording.add("pg_locks_waiting", "gauge", "Locks not granted", labels, waiting, now)
