"""The lab as faults and recorder see it: the cluster with its collector, Prometheus and users."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import random
import sys
import time
from pathlib import Path
from typing import Any

import pika
import psycopg
import redis

from ..postgres import connection_string
from ..processes import Processes
from .cluster import Cluster, Running, letters, pinned
from .collector import Collector
from .dns import NameServer
from .environment import ROOT
from .exporter import Exporter
from .faults import Fault
from .prometheus import Prometheus
from .service.json_file import write
from .wiring import BROKER, CACHE, DATABASE, ENTRY, SERVICES, edges

_READY_S = 60.0


class Lab:
    """Started by `start`, for as many incidents as wanted; everything ends with ``stack``."""

    def __init__(self, folder: Path, stack: contextlib.ExitStack) -> None:
        self.folder, self.processes = folder, Processes(folder)
        stack.callback(self.processes.kill_all, "postgres")
        self.cluster = Cluster(folder, self.processes)
        self.collector = Collector(self.processes, folder, self.cluster.network.collector)
        self.collector_host = self.cluster.network.collector
        self._stack = stack
        self._struck: dict[int, Running] = {}
        self._burners: list[str] = []

    def start(self, seed: int) -> None:
        """Start everything and let the users in."""
        self.cluster.start(self.collector.url)
        self._stack.enter_context(Exporter(self.cluster))
        self.prometheus = Prometheus(self.cluster)
        self.set_traffic(1.0)
        settings, requests = self.folder / "traffic.json", self.folder / "load.jsonl"
        words = [self.cluster.address(ENTRY), str(seed), str(settings), str(requests)]
        command = [sys.executable, "-m", "sample_data.lab.load", *words]
        self.processes.start("load", command, env={"PYTHONPATH": str(ROOT)})

    def strike(self, fault: Fault, pod: str | None) -> None:
        """Say which pod the fault strikes."""
        if pod is not None:
            self._struck[id(fault)] = self.cluster.running[pod]

    def struck(self, fault: Fault) -> Running:
        """Return the pod that the fault strikes."""
        return self._struck[id(fault)]

    def callers(self, fault: Fault) -> list[Running]:
        """Return the pods that call the fault's target."""
        callers = {caller for caller, callee in edges() if callee == fault.target}
        return [run for run in self.cluster.running.values() if run.pod.service in callers]

    def check_whole(self) -> None:
        """Raise RuntimeError when users, collector, Prometheus or a server ended of itself: only pods may."""
        pods = {run.pod.name for run in self.cluster.running.values() if run.pod.service in SERVICES}
        gone = [line for line in self.processes.exited() if line.split(":")[0] not in pods]
        if gone:
            raise RuntimeError(f"ended during the recording: {'; '.join(gone)}")

    def wait_ready(self, runs: list[Running] | None = None) -> None:
        """Serve the cluster until these pods, by default all, are ready."""
        deadline = time.monotonic() + _READY_S
        while not all(run.is_ready for run in (runs or list(self.cluster.running.values()))):
            if time.monotonic() > deadline:
                raise RuntimeError(
                    f"not ready: {[r.pod.name for r in self.cluster.running.values() if not r.is_ready]}"
                )
            self.cluster.tick()
            time.sleep(0.1)

    def set_traffic(self, times: float) -> None:
        """Set how many visits come, in units of the usual."""
        write(self.folder / "traffic.json", {"pace": times})

    # What faults do to the servers.

    def database(self) -> psycopg.Connection[Any]:
        """Return a connection of our own."""
        return psycopg.connect(connection_string(5432, address=self.cluster.address(DATABASE)), autocommit=True)

    def cache(self) -> redis.Redis:
        """Return a client of our own."""
        return redis.Redis(host=self.cluster.address(CACHE), socket_timeout=2.0)

    @property
    def names(self) -> NameServer:
        """The name server; on loopback there is none."""
        if self.cluster.names is None:
            raise RuntimeError("there is no name server on loopback")
        return self.cluster.names

    def publish(self, queue: str, body: bytes) -> None:
        """Put a message into a queue."""
        with contextlib.closing(
            pika.BlockingConnection(pika.ConnectionParameters(self.cluster.address(BROKER)))
        ) as broker:
            broker.channel().basic_publish(queue, queue, body)

    def purge(self, queue: str) -> None:
        """Remove what waits in a queue, and what its consumer holds."""
        with contextlib.closing(
            pika.BlockingConnection(pika.ConnectionParameters(self.cluster.address(BROKER)))
        ) as broker:
            channel = broker.channel()
            for _ in range(20):
                channel.queue_purge(queue)
                time.sleep(0.05)

    # What faults do to nodes and paths.

    def burn_node(self, node: str, count: int) -> None:
        """Start processes that take the node's processors."""
        self._burners = [f"burn-{number}" for number in range(count)]
        for name in self._burners:
            self.processes.start(name, [*pinned(node), sys.executable, "-c", "while True: pass"])

    def stop_burning(self) -> None:
        """End them."""
        for name in self._burners:
            self.processes.kill(name)
        self._burners = []

    def impair(self, fault: Fault, delay_s: float = 0.0, loss: float = 0.0, bytes_per_s: float = 0.0) -> None:
        """Hold back, lose or slow what the caller's pods send to the callee's."""
        callers, callees = self._ends(fault)
        for run in callers:
            name = f"relay-{run.pod.name}"
            numbers = [str(delay_s), str(loss), str(bytes_per_s)]
            words = [self.cluster.network.address(run.pod.name), ",".join(callees), *numbers]
            relay = [sys.executable, str(Path(__file__).with_name("relay.py")), *words]
            self.processes.start(name, [*self.cluster.network.inside(run.pod.name), *relay])

    def heal(self, fault: Fault) -> None:
        """Undo `impair`."""
        for run in self._ends(fault)[0]:
            self.processes.kill(f"relay-{run.pod.name}")

    def route(self, fault: Fault, verb: str, kind: str) -> None:
        """Set or delete the caller's routes to the callee's pods."""
        callers, callees = self._ends(fault)
        for run in callers:
            for address in callees:
                self.cluster.network.run(run.pod.name, "ip", "route", verb, kind, f"{address}/32")

    def _ends(self, fault: Fault) -> tuple[list[Running], list[str]]:
        caller, callee = str(fault.target).split("->")
        return self.cluster.of(caller), [self.cluster.network.address(run.pod.name) for run in self.cluster.of(callee)]

    # Rollouts.

    def start_version(self, fault: Fault, version: str) -> None:
        """Start a new version beside the struck pod; it gets no traffic yet."""
        old = self.struck(fault)
        rng = random.Random(f"{old.pod.name}/{version}")
        name = f"{old.pod.service}-{letters(rng, 10)}-{letters(rng, 5)}"
        pod = dataclasses.replace(old.pod, name=name, version=version)
        new = Running(pod, self.folder / name)
        new.folder.mkdir(exist_ok=True)
        self.cluster.network.add(name, pod.node)
        self.cluster.configure(new, json.loads((old.folder / "config.json").read_text()))
        self.cluster.hurt(new, {})
        self.cluster.running[name] = new
        self._replaced = old
        self.cluster.start_pod(new)
        self.prometheus.refresh()
        self._struck[id(fault)] = new
        old.is_ready = True
        while not new.is_ready:
            self.wait_ready([new])

    def switch_to_version(self, fault: Fault) -> None:
        """End the old pod: its traffic goes to the new one."""
        self.cluster.kill(self._replaced, "Completed", None)
        del self.cluster.running[self._replaced.pod.name]
        self.prometheus.refresh()

    def roll_back(self, fault: Fault) -> None:
        """Start the old version again and end the new one."""
        new, old = self.struck(fault), self._replaced
        self.cluster.running[old.pod.name] = old
        self.cluster.start_pod(old)
        self.wait_ready([old])
        self.cluster.kill(new, "Completed", None)
        del self.cluster.running[new.pod.name]
        self.prometheus.refresh()
