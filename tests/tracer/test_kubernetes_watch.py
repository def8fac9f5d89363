"""List and watch keep the tables equal to the cluster, through broken connections, lost history and refused kinds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from kubernetes_objects import event, manifest, pod
from kubernetes_server import Cluster, serving

from hypocenter.errors import Overloaded, SourceError
from hypocenter.tracer.batch import Batch, concat
from hypocenter.tracer.kubernetes import Kubernetes, order, source
from hypocenter.tracer.kubernetes.versions import DENIED, LISTED

CANARY = "s3cr3t-canary-9f2"
KINDS = ["Pod", "ConfigMap", "Secret", "Event"]


class Memory:
    """A sink that keeps its batches, and refuses as many as it is told to."""

    def __init__(self, refuse: int = 0) -> None:
        self.batches: list[Batch] = []
        self.refuse = refuse

    def put(self, batch: Batch, timeout_s: float | None = None) -> None:
        if self.refuse:
            self.refuse -= 1
            raise Overloaded("busy")
        self.batches.append(batch)

    def rows(self, signal: str) -> list[dict[str, Any]]:
        return concat(list(self.batches)).table(signal).to_pylist()

    def now(self, kind: str) -> dict[str, Any]:
        """Return what the tables say is there: the content by name."""
        batch = concat(list(self.batches))
        found = order(batch.table("objects"), batch.table("events")).table.to_pylist()
        return {
            row["name"]: orjson.loads(row["spec"]).get("data")
            for row in found
            if row["kind"] == kind and row["valid_to_ns"] is None
        }


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.01)


@contextmanager
def collecting(config: dict[str, Any], sink: Memory) -> Iterator[Kubernetes]:
    made, stop = source(config), threading.Event()
    thread = threading.Thread(target=made.run, args=(sink, stop))
    thread.start()
    try:
        until(made.is_ready)
        yield made
    finally:
        stop.set()
        thread.join(timeout=20)
        assert not thread.is_alive()


def config_map(name: str, value: str) -> dict[str, Any]:
    return manifest("ConfigMap", name, data={"x": value})


@pytest.fixture
def cluster() -> Cluster:
    found = Cluster(page=2)
    for i in range(5):
        found.put("configmaps", config_map(f"c{i}", "0"))
    found.put("pods", pod())
    found.put("secrets", manifest("Secret", "db", data={"password": CANARY}))
    found.put("events", event(pod(), "Pulled"))
    return found


def test_list_in_pages_then_changes_as_they_come(cluster: Cluster, tmp_path: Path) -> None:
    sink = Memory()
    with serving(cluster, tmp_path) as kubeconfig, collecting({"kubeconfig": kubeconfig, "kinds": KINDS}, sink) as made:
        until(lambda: len(sink.now("ConfigMap")) == 5)
        cluster.put("configmaps", config_map("c1", "1"))
        cluster.delete("configmaps", "uid-configmap-c2")
        cluster.put("configmaps", config_map("new", "7"))
        expected = {"c0": {"x": "0"}, "c1": {"x": "1"}, "c3": {"x": "0"}, "c4": {"x": "0"}, "new": {"x": "7"}}
        until(lambda: sink.now("ConfigMap") == expected)
        assert set(made.states().values()) == {"watching"}
    assert {row["reason"] for row in sink.rows("events") if row["object_kind"] == "Pod"} == {"Pulled", LISTED}


def test_unchanged_object_is_written_once(cluster: Cluster, tmp_path: Path) -> None:
    sink = Memory()
    with serving(cluster, tmp_path) as kubeconfig, collecting({"kubeconfig": kubeconfig, "kinds": ["ConfigMap"]}, sink):
        for _ in range(3):
            cluster.put("configmaps", config_map("c1", "0"))
        cluster.put("configmaps", config_map("c1", "1"))
        until(lambda: sink.now("ConfigMap").get("c1") == {"x": "1"})
    assert [row["name"] for row in sink.rows("objects")].count("c1") == 2


def test_watch_that_broke_resumes_where_it_was(cluster: Cluster, tmp_path: Path) -> None:
    sink = Memory()
    with (
        serving(cluster, tmp_path) as kubeconfig,
        collecting({"kubeconfig": kubeconfig, "kinds": ["ConfigMap"]}, sink) as made,
    ):
        for value in range(1, 4):
            before = cluster.watched("configmaps")
            cluster.break_watches()
            cluster.put("configmaps", config_map("c1", str(value)))
            until(lambda value=value: sink.now("ConfigMap").get("c1") == {"x": str(value)})
            until(lambda before=before: cluster.watched("configmaps") > before)
        assert made.watches[0].lists == 1


def test_lost_history_is_made_up_by_listing_again(cluster: Cluster, tmp_path: Path) -> None:
    sink = Memory()
    with (
        serving(cluster, tmp_path) as kubeconfig,
        collecting({"kubeconfig": kubeconfig, "kinds": ["ConfigMap"]}, sink) as made,
    ):
        until(lambda: cluster.watched("configmaps") == 1)
        with cluster.changed:
            cluster.delete("configmaps", "uid-configmap-c0")
            cluster.put("configmaps", config_map("c1", "1"))
            cluster.forget()
            cluster.version += 1
            cluster.oldest = cluster.version
        until(lambda: made.watches[0].lists == 2)
        expected = {"c1": {"x": "1"}, "c2": {"x": "0"}, "c3": {"x": "0"}, "c4": {"x": "0"}}
        until(lambda: sink.now("ConfigMap") == expected)


def test_bookmark_carries_a_quiet_watch_past_what_the_server_forgets(cluster: Cluster, tmp_path: Path) -> None:
    sink = Memory()

    def resumes_from() -> str:
        cluster.break_watches()
        return [query["resourceVersion"] for _, query, _ in cluster.requests if "watch" in query][-1]

    with (
        serving(cluster, tmp_path) as kubeconfig,
        collecting({"kubeconfig": kubeconfig, "kinds": ["ConfigMap"]}, sink) as made,
    ):
        until(lambda: cluster.watched("configmaps") == 1)
        cluster.put("pods", pod("another"))  # of a kind that this watch never hears of
        until(lambda: resumes_from() == str(cluster.version))
        cluster.forget()
        cluster.put("configmaps", config_map("c1", "1"))
        until(lambda: sink.now("ConfigMap").get("c1") == {"x": "1"})
        assert made.watches[0].lists == 1


def test_kind_is_read_soon_after_it_was_allowed(cluster: Cluster, tmp_path: Path) -> None:
    cluster.denied.add("configmaps")
    sink = Memory()
    with serving(cluster, tmp_path) as kubeconfig, collecting({"kubeconfig": kubeconfig, "kinds": ["ConfigMap"]}, sink):
        cluster.denied.clear()
        until(lambda: len(sink.now("ConfigMap")) == 5)
    batch = concat(sink.batches)
    assert [row["reason"] for row in sink.rows("events")] == [DENIED, LISTED]
    assert dict(order(batch.table("objects"), batch.table("events")).denied or {}) == {}


def test_objects_deleted_while_nobody_watched_are_gone_after_a_restart(cluster: Cluster, tmp_path: Path) -> None:
    sink = Memory()
    with serving(cluster, tmp_path) as kubeconfig:
        config = {"kubeconfig": kubeconfig, "kinds": ["ConfigMap"]}
        with collecting(config, sink):
            until(lambda: len(sink.now("ConfigMap")) == 5)
        cluster.delete("configmaps", "uid-configmap-c0")
        with collecting(config, sink):
            until(lambda: sorted(sink.now("ConfigMap")) == ["c1", "c2", "c3", "c4"])


def test_refused_and_absent_kinds_are_told_and_the_rest_goes_on(cluster: Cluster, tmp_path: Path) -> None:
    cluster.denied.add("secrets")
    cluster.absent.add("httproutes")
    sink = Memory()
    config: dict[str, Any] = {"kinds": ["Secret", "HTTPRoute", "ConfigMap"]}
    with serving(cluster, tmp_path) as kubeconfig, collecting(config | {"kubeconfig": kubeconfig}, sink) as made:
        until(lambda: len(sink.now("ConfigMap")) == 5)
        assert made.states() == {
            "secrets": "denied: 403 cannot list secrets",
            "httproutes": "not installed: 404 the server could not find it",
            "configmaps": "watching",
        }
    marks = [(row["object_kind"], row["reason"], row["message"]) for row in sink.rows("events")]
    assert ("Secret", DENIED, "403 cannot list secrets") in marks
    batch = concat(sink.batches)
    assert dict(order(batch.table("objects"), batch.table("events")).denied or {}) == {
        "Secret": "403 cannot list secrets"
    }


def test_values_of_secrets_are_never_asked_for(cluster: Cluster, tmp_path: Path) -> None:
    sink = Memory()
    with serving(cluster, tmp_path) as kubeconfig, collecting({"kubeconfig": kubeconfig, "kinds": KINDS}, sink):
        until(lambda: sink.now("Secret") == {"db": None})
        cluster.put("secrets", manifest("Secret", "db", data={"password": f"{CANARY}2"}))
        until(lambda: sum(row["kind"] == "Secret" for row in sink.rows("objects")) == 2)
    asked = {accept for path, _, accept in cluster.requests if path.endswith("/secrets")}
    assert all("PartialObjectMetadata" in accept for accept in asked)
    assert CANARY not in repr([sink.rows("objects"), sink.rows("events")])


def test_busy_sink_is_asked_again_and_nothing_is_lost(cluster: Cluster, tmp_path: Path) -> None:
    sink = Memory(refuse=3)
    with serving(cluster, tmp_path) as kubeconfig, collecting({"kubeconfig": kubeconfig, "kinds": ["ConfigMap"]}, sink):
        until(lambda: len(sink.now("ConfigMap")) == 5)
    assert sink.refuse == 0


def test_only_the_namespaces_asked_for_are_watched(cluster: Cluster, tmp_path: Path) -> None:
    sink = Memory()
    config = {"kinds": ["ConfigMap", "Node"], "namespaces": ["shop"]}
    with serving(cluster, tmp_path) as kubeconfig, collecting(config | {"kubeconfig": kubeconfig}, sink):
        pass
    paths = {path for path, _, _ in cluster.requests}
    assert paths == {"/api/v1/namespaces/shop/configmaps", "/api/v1/nodes"}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"kube_config": "x"}, "unknown kube_config"),
        ({"kinds": ["Pods"]}, "unknown Pods"),
        ({"namespaces": "shop"}, "expected a list of names"),
        ({"kubeconfig": "/nonexistent/kubeconfig"}, "/nonexistent/kubeconfig"),
    ],
)
def test_wrong_configuration_is_refused_by_name(config: dict[str, Any], message: str) -> None:
    with pytest.raises(SourceError, match=message):
        source(config)
