"""Faults of a process: it dies, dies again, stops, is told something wrong, or loses its processors."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ..wiring import SERVICES
from .fault import Fault

if TYPE_CHECKING:
    from ..lab import Lab


class Crash(Fault):
    name, granularity = "crash", "pod"
    meaning = "the process is killed once and stays away for down_s"
    targets = ("pricing", "cart", "review", "account", "search", "invoice", "inventory", "payment")
    strength = {"down_s": (12, 25)}

    def begin(self, lab: Lab) -> None:
        lab.cluster.kill(lab.struck(self), down_s=self.parameters["down_s"])


class CrashLoop(Fault):
    name, granularity = "crash-loop", "pod"
    meaning = "the process is killed alive_s after it is ready, again and again"
    targets = ("payment", "inventory", "account", "cart", "review", "search", "invoice")
    strength = {"alive_s": (0.5, 2.0), "down_s": (3.0, 6.0)}
    _ready_s: float = 0.0

    def begin(self, lab: Lab) -> None:
        lab.cluster.kill(lab.struck(self), down_s=self.parameters["down_s"])
        self._ready_s = 0.0

    def step(self, lab: Lab, since_s: float) -> None:
        run = lab.struck(self)
        if not run.is_ready:
            self._ready_s = since_s
        elif since_s - self._ready_s > self.parameters["alive_s"]:
            lab.cluster.kill(run, down_s=self.parameters["down_s"])


class Freeze(Fault):
    name, granularity = "freeze", "pod"
    meaning = "the process is stopped (SIGSTOP): connections open, nothing answers, not even its metrics"
    targets = ("review", "search", "account", "cart", "pricing", "invoice")

    def begin(self, lab: Lab) -> None:
        lab.cluster.suspend(lab.struck(self), True)

    def end(self, lab: Lab) -> None:
        lab.cluster.suspend(lab.struck(self), False)


class _Config(Fault):
    """A change of the mounted configuration of every replica."""

    granularity = "change"
    change: ClassVar[dict[str, float | str]] = {}

    def begin(self, lab: Lab) -> None:
        for run in lab.cluster.of(str(self.target)):
            lab.cluster.configure(run, {**SERVICES[run.pod.service].config, **self.change})

    def end(self, lab: Lab) -> None:
        for run in lab.cluster.of(str(self.target)):
            lab.cluster.configure(run, SERVICES[run.pod.service].config)


class ConfigChange(_Config):
    name = "config-change"
    meaning = "the configuration gets a timeout of 8 ms where seconds were meant"
    targets = ("checkout", "search", "storefront", "cart")
    change = {"timeout_s": 0.008, "retries": 0}


class ExpiredCredential(_Config):
    name = "expired-credential"
    meaning = "the third party no longer takes the credential"
    targets = ("payment",)
    change = {"credential": "expired"}


class NoisyNeighbour(Fault):
    name, granularity, indicator = "noisy-neighbour", "node", "cpu"
    meaning = "other work takes the processors of one node"
    targets = ("node-a", "node-b")
    strength = {"processes": (8, 10)}
    service = None

    def begin(self, lab: Lab) -> None:
        lab.burn_node(str(self.target), int(self.parameters["processes"]))

    def end(self, lab: Lab) -> None:
        lab.stop_burning()


class TelemetryLoss(Fault):
    name, granularity, needs_namespaces = "telemetry-loss", "pod", True
    meaning = "the pod cannot reach the collector; the service itself is well"
    targets = ("payment", "catalog", "cart", "account", "review")
    service = None

    def begin(self, lab: Lab) -> None:
        lab.cluster.network.run(lab.struck(self).pod.name, "ip", "route", "add", "blackhole", lab.collector_host)

    def end(self, lab: Lab) -> None:
        lab.cluster.network.run(lab.struck(self).pod.name, "ip", "route", "del", "blackhole", lab.collector_host)
