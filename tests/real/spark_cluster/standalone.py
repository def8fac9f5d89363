"""A real standalone cluster of Spark: a master and two workers as processes of this machine, small."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pyspark
from hook_chain import free_port, wait_for

from sample_data.processes import Processes

# Small: the machine shares its memory with the tests.
SETTINGS = {
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.memory": "512m",
    "spark.executor.memory": "512m",
    "spark.ui.enabled": "false",
}
WORKERS = ("worker-1", "worker-2")
_DEPLOY = "org.apache.spark.deploy"


class Cluster:
    """``url`` is what drivers name; ``folder`` holds each process's log."""

    def __init__(self, processes: Processes, folder: Path) -> None:
        self._processes, self._folder, self._running = processes, folder, dict[str, int]()
        port, self._web_port = free_port(), free_port()
        self.url = f"spark://127.0.0.1:{port}"
        self._start("master", "master.Master", "--port", str(port), "--webui-port", str(self._web_port))
        for name in WORKERS:
            self.start_worker(name)
        self.wait_for_workers(len(WORKERS))

    def start_worker(self, name: str) -> None:
        """Start a worker of one core."""
        work = ("--work-dir", str(self._folder / name), "--webui-port", "0")
        self._start(name, "worker.Worker", "--cores", "1", "--memory", "600M", *work, self.url)

    def kill_worker(self, name: str) -> None:
        """End a worker and its executors at once, as a machine that goes away."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._running[name], signal.SIGKILL)
        self._processes.kill(name)

    def wait_for_workers(self, count: int) -> None:
        """Return when as many workers have joined."""
        wait_for(lambda: self._state()["aliveworkers"] == count, f"{count} workers of Spark", 120)

    def wait_for_no_driver(self) -> None:
        """Return when the cluster is free for another driver: it has one core for each worker."""
        wait_for(lambda: not self._state()["activeapps"], "the end of Spark's applications", 120)

    def _state(self) -> dict[str, Any]:
        found: dict[str, Any] = httpx.get(f"http://127.0.0.1:{self._web_port}/json/").raise_for_status().json()
        return found

    def _start(self, name: str, of_class: str, *options: str) -> None:
        spark_class = str(Path(pyspark.__file__).parent / "bin" / "spark-class")
        command = [spark_class, f"{_DEPLOY}.{of_class}", "--host", "127.0.0.1", *options]
        # The variable of the same name in a user's environment may be another Python.
        env = {"SPARK_DAEMON_MEMORY": "256m", "PYSPARK_PYTHON": sys.executable}
        self._running[name] = self._processes.start(name, command, env=env)


@contextmanager
def running(folder: Path) -> Iterator[Cluster]:
    """Yield a running cluster; all its processes end with it."""
    processes = Processes(folder)
    try:
        yield Cluster(processes, folder)
    finally:
        processes.stop_all()
