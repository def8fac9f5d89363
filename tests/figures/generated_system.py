"""A system of any size that looks like one of a real company: teams, layers, databases, a broker, failures."""

from __future__ import annotations

from typing import Any

import numpy as np
from rollup_tables import edge, graph, histogram

from hypocenter.graph.dependency_graph import DependencyGraph

_WHAT = (
    *("cart", "checkout", "payment", "catalog", "inventory", "pricing", "shipping", "search", "profile", "review"),
    *("recommendation", "notification", "invoice", "fraud-detection", "loyalty", "address", "returns", "session"),
)
_ROLES = ("service", "api", "worker", "gateway-adapter", "sync")
_TEAMS = ("shop", "payments", "logistics", "growth", "platform", "identity", "search", "data", "partners", "support")
_LAYERS = 5


def names(services: int) -> list[str]:
    """Return so many names of services."""
    made = [f"{what}-{role}" for role in _ROLES for what in _WHAT]
    return [made[i % len(made)] + (f"-{i // len(made) + 1}" if i >= len(made) else "") for i in range(services)]


def system(services: int, seed: int = 7, *, grown: int = 0) -> DependencyGraph:
    """Return a minute of a system of so many services in five layers; ``grown`` services joined since."""
    rng = np.random.default_rng(seed)
    service = names(services)
    layer = np.minimum(np.arange(services) * _LAYERS // services, _LAYERS - 1)
    teams = max(1, min(len(_TEAMS), services // 10))
    team = {name: _TEAMS[int(rng.integers(teams))] for name in service}
    calls: dict[tuple[str, str], dict[str, Any]] = {}

    def call(caller: str, callee: str, rate: float, **more: Any) -> None:
        count = max(1, int(rate * 60))
        failed = int(count * rng.choice([0.0, 0.004, 0.03, 0.3], p=[0.88, 0.06, 0.04, 0.02]))
        taken = histogram({float(rng.lognormal(-4, 1)): count})
        sides = {} if caller == "external" else {"client_duration": taken}
        sides |= {} if "callee_kind" in more else {"server_duration": taken}
        calls[caller, callee] = edge(caller, callee, count, errors=failed, **sides, **more)

    def deeper(of: int) -> list[str]:
        return [name for name, depth in zip(service, layer, strict=True) if depth == of + 1]

    for name in deeper(-1)[: max(1, services // 40)]:
        call("external", name, float(rng.lognormal(4, 1)))
    called = {name for _, name in calls}
    for number, caller in enumerate(service):
        near = deeper(int(layer[number]))
        own = [name for name in near if team[name] == team[caller]] or near
        for callee in dict.fromkeys(rng.choice(own if rng.random() < 0.8 else near, 3) if near else ()):
            call(caller, str(callee), float(rng.lognormal(2, 1.5)))
        if number % 3 == 0:
            call(caller, f"{caller}-db", float(rng.lognormal(3, 1)), callee_kind="database")
        if number % 11 == 4:
            call(caller, f"redis-{team[caller]}", float(rng.lognormal(4, 1)), callee_kind="cache")
        if number % 17 == 5:
            call(caller, "orders.events", float(rng.lognormal(1, 1)), callee_kind="messaging")
            call("orders.events", service[-1 - number // 17], float(rng.lognormal(1, 1)), caller_kind="messaging")
    called = {name for _, name in calls}
    for number, name in enumerate(service):
        if name not in called:  # somebody of the layer before calls it
            before = [n for n, depth in zip(service, layer, strict=True) if depth == layer[number] - 1]
            call(str(rng.choice(before)) if before else "external", name, float(rng.lognormal(1, 1)))
    for number in range(grown):
        name = f"new-service-{number}"
        team[name] = team[service[number]]
        call(service[number], name, 3.0)
    return graph(*calls.values(), namespaces=team, end_s=60)
