"""Nodes and pods as network namespaces joined by veth pairs, or loopback addresses where that is not allowed.

A namespace lives as long as the process that holds it, and that process as long as the recorder: nothing has a name in
the system, so nothing can be left behind, whatever ends the recorder.

    host (recorder, collector, Prometheus, users) -- veth -- node-a: bridge -- veth -- node-b: bridge
                                                     a pod: eth0 -- veth -- its node's bridge
"""

from __future__ import annotations

import os
import random
import subprocess
from pathlib import Path

from ..processes import Processes
from .wiring import NODES


def may_use_namespaces() -> bool:
    """Tell whether this machine lets us make network and mount namespaces."""
    probe = ["unshare", "--net", "--mount", "sh", "-c", "ip link add probe0 type veth peer name probe1"]
    return os.geteuid() == 0 and subprocess.run(probe, capture_output=True, check=False).returncode == 0


class Network:
    """Gives each pod an address of its own; ``isolated`` tells whether it is a real network or loopback."""

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self._holders: dict[str, int] = {}
        self._numbers: dict[str, int] = {}
        self.isolated = may_use_namespaces()
        taken = subprocess.run(["ip", "-4", "addr"], capture_output=True, text=True, check=False).stdout
        prefixes = [f"{10 if self.isolated else 127}.{number}" for number in range(64, 250)]
        self._prefix = random.SystemRandom().choice([p for p in prefixes if f" {p}." not in taken])
        # Two, so that a pod can lose its way to the collector and still find names and be scraped.
        self.host, self.collector = f"{self._prefix}.0.1", f"{self._prefix}.0.2"
        if self.isolated:
            self._make_nodes()

    def address(self, pod: str) -> str:
        """Return the address of a pod that was added."""
        return f"{self._prefix}.1.{self._numbers[pod]}"

    def add(self, pod: str, node: str) -> None:
        """Make the namespace of a pod, an interface in it, and its address."""
        self._numbers[pod] = 10 + len(self._numbers)
        if not self.isolated:
            return
        holder, number = self._hold(pod), self._numbers[pod]
        self._ip(
            self._holders[node],
            f"link add v{number} type veth peer name eth0 netns {holder}",
            f"link set v{number} master br0 up",
        )
        self._ip(holder, "link set lo up", f"addr add {self.address(pod)}/16 dev eth0", "link set eth0 up")

    def inside(self, pod: str) -> list[str]:
        """Return the words before a command that run it in the pod's network."""
        return ["nsenter", f"--net={self.namespace(pod)}"] if self.isolated else []

    def namespace(self, pod: str) -> Path:
        """Return the file that is the pod's namespace."""
        return Path(f"/proc/{self._holders[pod]}/ns/net")

    def holder(self, pod: str) -> int:
        """Return the process whose /proc entry shows the pod's interfaces."""
        return self._holders[pod]

    def run(self, pod: str, *command: str) -> None:
        """Run a command of iproute2 in the pod's own network; what is so already is no error."""
        if not self.isolated:
            raise RuntimeError("a pod has no network of its own on loopback")
        subprocess.run([*self.inside(pod), *command], check=False, capture_output=True)

    def _hold(self, name: str) -> int:
        self._holders[name] = pid = self._processes.start(f"net-{name}", ["unshare", "--net", "sleep", "infinity"])
        mine = Path("/proc/self/ns/net").readlink()
        while Path(f"/proc/{pid}/ns/net").readlink() == mine:
            os.sched_yield()
        return pid

    def _make_nodes(self) -> None:
        for node in NODES:
            self._ip(self._hold(node), "link set lo up", "link add name br0 type bridge", "link set br0 up")
        first, *others = (self._holders[node] for node in NODES)
        for number, other in enumerate(others):
            self._ip(
                first, f"link add t{number} type veth peer name up0 netns {other}", f"link set t{number} master br0 up"
            )
            self._ip(other, "link set up0 master br0 up")
        name = f"hypo{os.getpid()}"
        self._ip(None, f"link add name {name} type veth peer name host0 netns {first}")
        self._ip(
            None,
            f"addr add {self.host}/16 dev {name}",
            f"addr add {self.collector}/16 dev {name}",
            f"link set {name} up",
        )
        self._ip(first, "link set host0 master br0 up")

    def _ip(self, pid: int | None, *lines: str) -> None:
        enter = [] if pid is None else ["nsenter", f"--net=/proc/{pid}/ns/net"]
        subprocess.run(
            [*enter, "ip", "-batch", "-"], input="\n".join(lines), text=True, check=True, capture_output=True
        )
