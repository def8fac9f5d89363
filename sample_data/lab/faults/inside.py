"""Faults of the code and of what the process holds: memory, threads, connections."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..wiring import SERVICES
from .fault import PYTHON, Inside

if TYPE_CHECKING:
    from ..lab import Lab

_PYTHON_SERVING = tuple(s for s in PYTHON if s not in ("fulfilment", "settlement"))
_WITH_POOL = ("catalog", "account", "review", "inventory", "checkout", "payment")


class SlowHandler(Inside):
    name, effect = "slow-handler", "slow"
    meaning = "every request waits in the handler, growing over ramp_s"
    targets = (
        "payment",
        "catalog",
        "pricing",
        "cart",
        "search",
        "review",
        "account",
        "inventory",
        "invoice",
        "storefront",
    )
    strength = {"delay_s": (0.25, 0.5), "ramp_s": (0.0, 10.0)}


class Exception_(Inside):
    name, effect = "exception", "exception"
    meaning = "a share of the requests raises in the handler"
    targets = (
        "inventory",
        "catalog",
        "search",
        "cart",
        "payment",
        "account",
        "review",
        "invoice",
        "pricing",
        "storefront",
    )
    strength = {"share": (0.4, 0.8)}


class WrongValue(Inside):
    name, effect = "wrong-value", "wrong-value"
    meaning = "a share of the answers holds no amount, which the caller refuses"
    targets = ("pricing",)
    strength = {"share": (0.4, 0.8)}


class Hang(Inside):
    name, effect = "hang", "deadlock"
    meaning = "requests wait for a lock that nobody gives back"
    targets = ("invoice", "account", "pricing", "review", "search", "cart", "inventory")
    strength = {}


class CpuBurn(Inside):
    name, effect, indicator = "cpu-burn", "burn", "cpu"
    meaning = "runaway threads in the process (in Node: a callback that holds the loop)"
    targets = ("checkout", "storefront", "account", "search", "cart", "review")
    strength = {"threads": (4, 4.9)}


class MemoryLeak(Inside):
    name, effect, indicator = "memory-leak", "leak", "memory"
    meaning = "memory grows until the pod is over its limit and killed, again and again"
    targets = ("account", "payment", "inventory", "review", "search")
    strength = {"mb_per_s": (18, 26)}


class PoolExhaustion(Inside):
    name, effect, indicator = "pool-exhaustion", "take-connections", "pool"
    meaning = "every connection of the database pool is taken and not given back"
    targets = _WITH_POOL[1:] + _WITH_POOL[:1]
    strength = {"count": (4, 4)}


class ClockSkew(Inside):
    name, effect = "clock-skew", "clock"
    meaning = "the wall clock of the pod is off; nothing else is"
    targets = _PYTHON_SERVING
    strength = {"offset_s": (2.0, 6.0)}


class BadRollout(Inside):
    name, effect, granularity = "bad-rollout", "exception", "change"
    needs_namespaces = True  # callers find the new pod by the name server
    meaning = "one replica gets a new version, which fails on a share of the requests"
    targets = ("catalog", "recommendation", "payment", "account", "inventory")
    strength = {"share": (0.6, 0.9)}

    def prepare(self, lab: Lab) -> None:
        lab.start_version(self, "9.0.0")

    def begin(self, lab: Lab) -> None:
        lab.switch_to_version(self)
        super().begin(lab)

    def end(self, lab: Lab) -> None:
        lab.roll_back(self)


class SlowConsumer(Inside):
    name, effect, indicator = "broker-backlog", "slow", "queue"
    meaning = "the worker takes long for each message and its queue grows"
    targets = ("fulfilment", "notification")
    strength = {"delay_s": (2.0, 4.0)}


class RetryStorm(Inside):
    name, effect = "retry-storm", "exception"
    meaning = "a callee fails often and its callers repeat at once, eight times"
    targets = ("catalog", "pricing", "invoice", "cart")
    strength = {"share": (0.6, 0.8)}

    def begin(self, lab: Lab) -> None:
        super().begin(lab)
        for run in lab.callers(self):
            lab.cluster.configure(run, {**SERVICES[run.pod.service].config, "retries": 8, "backoff_s": 0.0})

    def end(self, lab: Lab) -> None:
        super().end(lab)
        for run in lab.callers(self):
            lab.cluster.configure(run, SERVICES[run.pod.service].config)
