"""Faults in a real cluster: each is found at its object and since it was put in; a healthy shop shows none."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from control_plane import ControlPlane
from faults import FAULTS, Fault
from metrics_api import metrics_api
from shop import SERVICES, node_of, shared, shop
from watching import Watching, watching
from workloads import pods, reason

from hypocenter.analysis.evidence.kubernetes_causes import Finding, causes
from hypocenter.graph.kubernetes import History
from hypocenter.graph.kubernetes_services import Speakers
from hypocenter.tracer.kubernetes.kinds import KINDS
from hypocenter.tracer.window import Window

SECOND_NS = 10**9
HEALTHY = "healthy"
CALLS = [("web", "api"), ("api", "db")]
# What a fault shows where the cluster itself takes its time: a grace period, a back-off, a minimal duration.
_PATIENCE_S = 100


@dataclass
class Shops:
    """All shops under one watch; ``injected_ns`` is when the fault of a shop was put in, before and after the call."""

    plane: ControlPlane
    watch: Watching
    ready_ns: int
    injected_ns: dict[str, tuple[int, int]]

    def findings(self, namespace: str, since_ns: int) -> list[Finding]:
        """Return what the evidence says of one shop since a time."""
        now_ns = time.time_ns()
        window = Window(since_ns, now_ns + 1)
        versions = self.watch.versions()
        history = History.of(versions, window, self.watch.store.read("events"))
        found = causes(history, Speakers({}, {}, frozenset(SERVICES)), CALLS, now_ns)
        return [f for f in found if self._belongs(f, namespace) and not f.is_context]

    def _belongs(self, finding: Finding, namespace: str) -> bool:
        return finding.found.namespace == namespace or finding.entity == node_of(namespace)


@pytest.fixture(scope="module")
def shops(
    plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Shops]:
    """Yield shops that were healthy, and since then have a fault each, of those that are asked for."""
    asked = {item.name for item in request.session.items}
    faults = [fault for fault in FAULTS if any(f"[{fault.name}]" in name for name in asked)]
    names = [HEALTHY, *(fault.name for fault in faults)]
    with (
        metrics_api(plane) as metrics,
        watching(plane, tmp_path_factory.mktemp("watch")) as watch,
    ):
        nodes = [plane.node(node_of(name), labels={"shop": name}) for name in names]
        spaces = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in names]
        plane.kubectl("create", "-f", "-", stdin=[*nodes, *spaces])
        plane.apply(*shared(), *(found for name in names for found in shop(plane, name)))
        for name in names:
            plane.wait(lambda name=name: is_up(plane, name), f"the shop {name}: {state(plane, name)}")
        time.sleep(2)
        running = Shops(plane, watch, time.time_ns(), {})
        time.sleep(3)
        for fault in faults:
            before = time.time_ns()
            fault.inject(plane, metrics, fault.name)
            running.injected_ns[fault.name] = (before, time.time_ns())
        yield running
        plane.kubectl("delete", "--wait=false", *(f"namespace/{name}" for name in names))
        plane.kubectl("delete", "--wait=false", *(f"node/{node_of(name)}" for name in names))


def state(plane: ControlPlane, namespace: str) -> dict[str, str]:
    return {pod["metadata"]["name"]: reason(pod) for pod in pods(plane, namespace)}


def is_up(plane: ControlPlane, namespace: str) -> bool:
    found = state(plane, namespace)
    apps = {name.split("-")[0] for name, why in found.items() if why == "ready"}
    scaler = plane.read(f"/apis/autoscaling/v2/namespaces/{namespace}/horizontalpodautoscalers/web")["status"].get(
        "conditions", ()
    )
    sees = any(c["type"] == "ScalingActive" and c["status"] == "True" for c in scaler)
    return apps >= {"web", "api", "db", "queue", "agent"} and sees


def test_a_healthy_shop_gives_no_finding(shops: Shops) -> None:
    assert [f.text for f in shops.findings(HEALTHY, shops.ready_ns)] == []


def test_every_kind_of_object_is_stored(shops: Shops) -> None:
    rows = shops.watch.versions().table.to_pylist()
    held = {row["kind"] for row in rows if row["namespace"] in (HEALTHY, None)}
    # Nothing attaches volumes here, and no Gateway API is installed.
    absent = {"Event", "VolumeAttachment", *(kind.name for kind in KINDS if kind.optional)}
    assert held == {kind.name for kind in KINDS} - absent


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_the_fault_is_found_when_and_where_it_was_put_in(shops: Shops, fault: Fault) -> None:
    entity = fault.entity.format(ns=fault.name, node=node_of(fault.name))
    before, after = shops.injected_ns[fault.name]

    def named() -> list[Finding]:
        told = shops.findings(fault.name, shops.ready_ns)
        return [f for f in told if f.rule == fault.rule and f.entity.startswith(entity)]

    found = shops.plane.wait(named, lambda: said(shops, fault), _PATIENCE_S)[0]
    print(f"{fault.name}: {(found.onset_ns - before) / SECOND_NS:.2f} s after; {found.text}; {found.command}")
    # Kubernetes writes whole seconds; what it decides itself begins when it does.
    late_ns = round((2 + fault.within_s) * SECOND_NS)
    assert before - SECOND_NS <= found.onset_ns <= after + late_ns
    assert found.command.startswith("kubectl ")


def said(shops: Shops, fault: Fault) -> str:
    told: Any = [(f.rule, f.entity, f.text) for f in shops.findings(fault.name, shops.ready_ns)]
    return f"the finding of {fault.name}; told was {told}; pods {state(shops.plane, fault.name)}"
