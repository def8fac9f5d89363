"""A standalone cluster of Spark on this machine: a master and workers of one core each, as processes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from sample_data.processes import Processes

_DEPLOY = "org.apache.spark.deploy"
_READY_S = 120


def settings(memory: str = "512m") -> dict[str, str]:
    """Return what a driver beside the cluster needs, with so much memory for itself and for each executor's JVM."""
    return {
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.memory": memory,
        "spark.executor.memory": memory,
        "spark.ui.enabled": "false",
    }


class Cluster:
    """``url`` is what drivers name; ``folder`` holds each process's log."""

    def __init__(self, processes: Processes, folder: Path, workers: int, memory: str) -> None:
        self._processes, self._folder, self._running = processes, folder, dict[str, int]()
        self._memory = memory
        port, self._web_port = _free_port(), _free_port()
        self.url, self.workers = f"spark://127.0.0.1:{port}", tuple(f"worker-{number}" for number in range(workers))
        self._start("master", "master.Master", "--port", str(port), "--webui-port", str(self._web_port))
        for name in self.workers:
            self.start_worker(name)
        self.wait_for_workers()

    def start_worker(self, name: str) -> None:
        """Start a worker of one core."""
        work = ("--work-dir", str(self._folder / name), "--webui-port", "0")
        self._start(name, "worker.Worker", "--cores", "1", "--memory", self._memory, *work, self.url)

    def kill_worker(self, name: str) -> None:
        """End a worker and its executors at once, as a machine that goes away."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._running[name], signal.SIGKILL)
        self._processes.kill(name)

    def wait_for_workers(self) -> None:
        """Return when all workers have joined."""
        self._wait(lambda state: state["aliveworkers"] == len(self.workers), "its workers")

    def wait_for_no_driver(self) -> None:
        """Return when the cluster is free for another driver, since each takes all cores."""
        self._wait(lambda state: not state["activeapps"], "the end of its applications")

    def _wait(self, is_so: Callable[[dict[str, Any]], bool], what: str) -> None:
        deadline = time.monotonic() + _READY_S
        while time.monotonic() < deadline:
            # Until the master has put up all its pages, its first page answers for `/json/` too.
            with contextlib.suppress(httpx.HTTPError, json.JSONDecodeError):
                if is_so(httpx.get(f"http://127.0.0.1:{self._web_port}/json/").raise_for_status().json()):
                    return
            time.sleep(0.1)
        raise AssertionError(f"Spark: waited {_READY_S} s for {what}; ended by themselves: {self._processes.exited()}")

    def _start(self, name: str, of_class: str, *options: str) -> None:
        import pyspark

        spark_class = str(Path(pyspark.__file__).parent / "bin" / "spark-class")
        command = [spark_class, f"{_DEPLOY}.{of_class}", "--host", "127.0.0.1", *options]
        # The variable of the same name in a user's environment may be another Python.
        env = {"SPARK_DAEMON_MEMORY": "256m", "PYSPARK_PYTHON": sys.executable}
        self._running[name] = self._processes.start(name, command, env=env)


@contextmanager
def running(folder: Path, workers: int = 2, memory: str = "1g") -> Iterator[Cluster]:
    """Yield a running cluster whose workers have so much memory for executors; all its processes end with it."""
    processes = Processes(folder)
    try:
        yield Cluster(processes, folder, workers, memory)
    finally:
        processes.stop_all()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
