"""The running lab: pods on nodes, started, watched and restarted as a kubelet would; what faults take hold of."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from ..plan import VERSIONS, Pod
from ..processes import Processes
from . import node_packages, servers
from .dns import NameServer
from .environment import of_pod
from .network import Network
from .service.json_file import write
from .wiring import BANK, BROKER, CACHE, DATABASE, GRPC_PORT, HTTP_PORT, NODES, SERVERS, SERVICES

MEMORY_LIMIT_BYTES = 300 * 2**20
START_TIMEOUT_S = 180.0
_LETTERS = "bcdfghjklmnpqrstvwxz2456789"


@dataclass
class Running:
    """A pod and what became of it; ``due_s`` is when a dead one starts again (monotonic), None while it lives."""

    pod: Pod
    folder: Path
    pid: int = 0
    is_ready: bool = False
    restarts: int = 0
    reason: str = ""
    due_s: float | None = None


def pods() -> list[Pod]:
    """Return the pods of the lab, the same in every lab; replicas are spread over the nodes."""
    rng = random.Random("1/pods")
    found: list[Pod] = []
    for service, wired in SERVICES.items():
        revision, version = letters(rng, 10), rng.choice(VERSIONS)
        for number in range(wired.replicas):
            node = NODES[(number + len(found)) % len(NODES)]
            found.append(Pod(service, f"{service}-{revision}-{letters(rng, 5)}", node, version))
    servers_of = {DATABASE: NODES[1], CACHE: NODES[0], BROKER: NODES[1], BANK: NODES[0]}
    return found + [Pod(name, f"{name}-0", node, "1") for name, node in servers_of.items()]


def letters(rng: random.Random, count: int) -> str:
    """Return a word as Kubernetes makes them."""
    return "".join(rng.choice(_LETTERS) for _ in range(count))


class Cluster:
    """Started once for many incidents; must be used from one thread (`Processes`)."""

    def __init__(self, folder: Path, processes: Processes) -> None:
        self.folder, self.processes = folder, processes
        self.network = Network(processes)
        self.running = {pod.name: Running(pod, folder / pod.name) for pod in pods()}
        self.collector_url = ""
        self._packages = node_packages.folder()
        for run in self.running.values():
            run.folder.mkdir()
            self.network.add(run.pod.name, run.pod.node)
            wired = SERVICES.get(run.pod.service)
            self.configure(run, wired.config if wired else {})
            self.hurt(run, {})
        self.names = NameServer(processes, folder, self.network.host) if self.network.isolated else None
        (folder / "resolv.conf").write_text(f"nameserver {self.network.host}\noptions timeout:1 attempts:2\n")

    def start(self, collector_url: str) -> None:
        """Start servers, then services, and wait until all answer."""
        self.collector_url = collector_url
        for name in SERVERS:
            run = self.of(name)[0]
            run.pid = servers.START[name](self, run)
        self._wait(SERVERS)
        for run in self.running.values():
            if run.pod.service in SERVICES:
                self.start_pod(run)
        self._wait(tuple(SERVICES))

    def of(self, service: str) -> list[Running]:
        """Return the pods of a service or server."""
        return [run for run in self.running.values() if run.pod.service == service]

    def resolve(self, name: str) -> list[str]:
        """Return the addresses of the ready pods of a service."""
        return [self.network.address(run.pod.name) for run in self.of(name) if run.is_ready]

    def address(self, service: str) -> str:
        """Return the address of a service's first pod."""
        return self.network.address(self.of(service)[0].pod.name)

    def configure(self, run: Running, config: dict[str, Any]) -> None:
        """Write the pod's mounted configuration."""
        write(run.folder / "config.json", config)

    def hurt(self, run: Running, effects: dict[str, Any]) -> None:
        """Write what is broken inside the pod."""
        write(run.folder / "hurt.json", effects)

    def start_pod(self, run: Running) -> None:
        """Start the process of a service's pod."""
        wired, pod = SERVICES[run.pod.service], run.pod
        volume = run.folder / "volume"
        volume.mkdir(exist_ok=True)
        address, peers = self.network.address, {}
        if self.names is None:
            peers = {name: [address(run.pod.name) for run in self.of(name)] for name in (*SERVICES, *SERVERS)}
        environment = of_pod(pod, run.folder, address(pod.name), self.collector_url, self._packages, peers)
        command = [*self._container(run, volume), *_program(wired.language, self._packages)]
        run.pid = self.processes.start(pod.name, command, env=environment)
        run.is_ready, run.due_s = False, None

    def kill(self, run: Running, reason: str = "Error", down_s: float | None = 1.0) -> None:
        """End a pod's process at once; it comes back after ``down_s``, or not at all for None."""
        self.processes.kill(run.pod.name)
        run.is_ready, run.reason = False, reason
        run.due_s = None if down_s is None else time.monotonic() + down_s

    def suspend(self, run: Running, stopped: bool) -> None:
        """Stop or continue every process of a pod."""
        with contextlib.suppress(psutil.NoSuchProcess):
            for process in [psutil.Process(run.pid), *psutil.Process(run.pid).children(recursive=True)]:
                process.send_signal(signal.SIGSTOP if stopped else signal.SIGCONT)

    def tick(self) -> None:
        """Do what a kubelet does: note who is ready, end who is over its memory limit, start the dead again."""
        now = time.monotonic()
        ended = {line.split(":")[0] for line in self.processes.exited()}
        for run in self.running.values():
            if run.pod.service not in SERVICES:
                continue
            if run.pod.name in ended:
                self.kill(run)
            if run.due_s is not None and now >= run.due_s:
                run.restarts += 1
                self.start_pod(run)
            elif run.due_s is None and run.pid and _memory(run.pid) > MEMORY_LIMIT_BYTES:
                self.kill(run, "OOMKilled", 1.0)
            elif run.due_s is None and not run.is_ready:
                run.is_ready = self._answers(run)
        self._tell_names()

    def _tell_names(self) -> None:
        if self.names is not None:
            self.names.tell({name: self.resolve(name) for name in (*SERVICES, *SERVERS)})

    def _answers(self, run: Running) -> bool:
        ports = {DATABASE: 5432, CACHE: 6379, BROKER: 5672}
        wired = SERVICES.get(run.pod.service)
        port = ports.get(run.pod.service, HTTP_PORT)
        if wired and any(name.startswith("grpc") for name in wired.endpoints):
            port = GRPC_PORT
        try:
            socket.create_connection((self.network.address(run.pod.name), port), 0.1).close()
        except OSError:
            return False
        return True

    def _wait(self, services: tuple[str, ...]) -> None:
        waiting = [run for run in self.running.values() if run.pod.service in services]
        deadline = time.monotonic() + START_TIMEOUT_S
        while waiting:
            for run in waiting:
                run.is_ready = self._answers(run)
            self._tell_names()
            waiting = [run for run in waiting if not run.is_ready]
            if waiting and (time.monotonic() > deadline or self.processes.exited()):
                names = ", ".join(run.pod.name for run in waiting)
                raise RuntimeError(f"did not start: {names}; {'; '.join(self.processes.exited()) or 'no answer'}")
            time.sleep(0.2)

    def _container(self, run: Running, volume: Path) -> list[str]:
        """Return the words that run a command in the pod's network, with its name server, volume and core."""
        if not self.network.isolated:
            return []
        script = 'mount --bind "$0" /etc/resolv.conf && mount -t tmpfs -o size=4m none "$1" && shift && exec "$@"'
        mounts = ["unshare", "--mount", "sh", "-c", script, str(self.folder / "resolv.conf"), str(volume)]
        return [*self.network.inside(run.pod.name), *pinned(run.pod.node), *mounts]


def pinned(node: str) -> list[str]:
    """Return the words that keep a command on its node's processors, where there are enough to share out."""
    cores = sorted(os.sched_getaffinity(0))
    mine = cores[NODES.index(node) :: len(NODES)]
    return ["taskset", "--cpu-list", ",".join(map(str, mine))] if len(cores) >= len(NODES) else []


def _program(language: str, packages: Path) -> list[str]:
    if language == "node":
        hook = packages / "telemetry.js"
        return [shutil.which("node") or "node", "--require", str(hook), str(packages / "service.js")]
    instrument = Path(sys.executable).with_name("opentelemetry-instrument")
    return [str(instrument), sys.executable, "-m", "sample_data.lab.service"]


def _memory(pid: int) -> int:
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.NoSuchProcess:
        return 0
