"""The states of objects over time, in words, and which of them are bad."""

from __future__ import annotations

from typing import Any

import pytest
from kubernetes_objects import at, condition, deployment, node, pod
from kubernetes_shop import rows, shop

from hypocenter.graph.kubernetes import History
from hypocenter.graph.kubernetes_states import stretches
from hypocenter.tracer.store import Store
from hypocenter.tracer.window import Window


def told(tmp_path: Any, *snapshots: tuple[float, dict[str, Any]]) -> list[tuple[str, str, float, bool]]:
    """Return object, state, seconds that it lasted and whether it is bad, within the first 100 s."""
    store = Store(tmp_path / "store", create=True)
    store.append(rows(list(snapshots)))
    found = stretches(History.read(store, Window(at(0), at(100))))
    lasted = (found.end - found.start).dt.total_seconds()
    return list(zip(found.object, found.state, lasted, found.is_bad, strict=True))


def test_a_pod_that_stops_being_ready_has_two_stretches(tmp_path: Any) -> None:
    ill = pod("cart-0", conditions=[condition("Ready", False, 40)])
    assert told(tmp_path, (0, {"p": pod("cart-0")}), (20, {"p": pod("cart-0")}), (40, {"p": ill})) == [
        ("Pod/shop/cart-0", "ready", 40.0, False),
        ("Pod/shop/cart-0", "not ready", 60.0, True),
    ]


WAITING = [{"name": "app", "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]
CASES = {
    "waiting": (pod("a", statuses=WAITING), "CrashLoopBackOff", True),
    "restarted": (pod("a", statuses=[{"name": "app", "restartCount": 2, "state": {}}]), "ready, 2 restarts", False),
    "node": (node("n1", ready=False), "not ready", True),
    "replicas": (deployment("a", replicas=3) | {"status": {"readyReplicas": 1}}, "1/3 ready", True),
}


@pytest.mark.parametrize("name", CASES)
def test_state_is_told_in_words(tmp_path: Any, name: str) -> None:
    manifest, state, bad = CASES[name]
    assert [row[1:] for row in told(tmp_path, (0, {"x": manifest}))] == [(state, 100.0, bad)]


def test_a_healthy_shop_has_nothing_bad(tmp_path: Any) -> None:
    found = told(tmp_path, (0, shop()))
    assert found and not [row for row in found if row[3]]
