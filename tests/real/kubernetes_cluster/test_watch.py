"""The watch on a real API server: under its own account, through a restart, and over thousands of updates."""

from __future__ import annotations

import gc
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from control_plane import ControlPlane
from watching import Watching, watching
from workloads import deployment, kind_definition, named, pods

from hypocenter.graph.kubernetes import History
from hypocenter.tracer.kubernetes.kinds import CLUSTER_WIDE, KINDS, Kind
from hypocenter.tracer.window import Window

ROUTES = (("HTTPRoute", "shop"), ("GRPCRoute", "ledger"))
CANARY = "c4nary-of-a-secret"


@pytest.fixture
def token(plane: ControlPlane) -> str:
    """Return a token of the ServiceAccount that deploy/ gives the collector."""
    return plane.collector_token()


def test_the_collectors_account_sees_every_kind_and_no_value_of_a_secret(
    plane: ControlPlane, namespace: str, token: str, tmp_path: Path
) -> None:
    plane.apply(named("v1", "Secret", "password", namespace, stringData={"key": CANARY}))
    with watching(plane, tmp_path, token) as watch:
        plane.wait(lambda: "password" in watch.current("Secret", namespace), "the Secret")
        health = watch.source.states()
        row = watch.current("Secret", namespace)["password"]
    states = {kind: told.split(":")[0] for kind, told in health.items()}
    assert states == {kind.plural: "not installed" if kind.optional else "watching" for kind in KINDS}
    assert json.loads(row["spec"]) == {"type": None}
    stored = b"".join(path.read_bytes() for path in tmp_path.rglob("*.parquet"))
    assert CANARY.encode() not in stored


def test_a_kind_that_may_not_be_read_is_told_and_the_rest_goes_on(
    plane: ControlPlane, namespace: str, token: str, tmp_path: Path
) -> None:
    plane.kubectl("delete", "clusterrolebinding", "hypocenter-collector-secrets")
    with watching(plane, tmp_path, token, kinds=["Secret", "Pod"]) as watch:
        assert watch.source.states()["secrets"].startswith("denied: ")
        assert watch.source.states()["pods"] == "watching"
        plane.wait(lambda: "Secret" in (watch.versions().denied or {}), "the refusal in the store")


@pytest.fixture
def gateway_api(plane: ControlPlane) -> Iterator[list[Kind]]:
    """Install the kinds of the Gateway API that are watched, and yield them."""
    kinds = [kind for kind in KINDS if kind.optional]
    approved = {"api-approved.kubernetes.io": "https://github.com/kubernetes-sigs/gateway-api"}
    scopes = {True: "Cluster", False: "Namespaced"}
    made = [
        kind_definition(k.version.partition("/")[0], k.name, k.plural, scopes[k.name in CLUSTER_WIDE], **approved)
        for k in kinds
    ]
    plane.apply(*made)
    names = [definition["metadata"]["name"] for definition in made]
    plane.kubectl("wait", "--for=condition=Established", "crd", *names)
    yield kinds
    plane.kubectl("delete", "crd", *names, "--wait=false")


def test_the_gateway_api_is_watched_where_it_is_installed(
    plane: ControlPlane, namespace: str, token: str, gateway_api: list[Kind], tmp_path: Path
) -> None:
    api = gateway_api[0].version
    rules = [{"backendRefs": [{"name": "web", "port": 80}]}]
    route = {"parentRefs": [{"name": "edge"}], "hostnames": ["shop.example"], "rules": rules}
    with watching(plane, tmp_path, token, kinds=[kind.name for kind in gateway_api]) as watch:
        plane.wait(lambda: set(watch.source.states().values()) == {"watching"}, lambda: str(watch.source.states()))
        plane.apply(
            named(api, "GatewayClass", "mesh", spec={"controllerName": "example.org/mesh"}),
            named(api, "Gateway", "edge", namespace, spec={"gatewayClassName": "mesh"}),
            named(api, "HTTPRoute", "shop", namespace, spec=route),
            named(api, "GRPCRoute", "ledger", namespace, spec=route),
        )
        plane.wait(lambda: watch.current("GRPCRoute", namespace), "the last of them")
        cluster = History.read(watch.store, Window(0, 2**62)).at(time.time_ns())
    assert {(e.source, e.target, e.layer) for e in cluster.edges} == {
        (f"Gateway/{namespace}/edge", "GatewayClass/mesh", "references"),
        *((f"Gateway/{namespace}/edge", f"{kind}/{namespace}/{name}", "routing") for kind, name in ROUTES),
        *((f"{kind}/{namespace}/{name}", f"Service/{namespace}/web", "routing") for kind, name in ROUTES),
    }


def update(plane: ControlPlane, namespace: str, names: list[str], rounds: int, stop: Callable[[], bool]) -> int:
    """Write a new value into each ConfigMap, round after round, and return how many writes were acknowledged."""
    from kubernetes.client import CoreV1Api
    from kubernetes.client.exceptions import ApiException
    from urllib3.exceptions import HTTPError

    api, done = CoreV1Api(plane.client()), 0
    for number in range(rounds):
        for name in names:
            while not stop():
                try:
                    api.patch_namespaced_config_map(name, namespace, {"data": {"round": str(number)}})
                    done += 1
                    break
                except (ApiException, HTTPError, OSError):
                    time.sleep(0.2)
    return done


@pytest.mark.timeout(1800)
def test_thousands_of_updates_and_a_restart_leave_nothing_out(
    plane: ControlPlane, namespace: str, tmp_path: Path, scaled: Callable[[int], int]
) -> None:
    """10,000 updates at full scale; a restart of the API server in their middle."""
    writers, each = 4, 25
    rounds = max(2, scaled(10_000) // (writers * each))
    groups = [[f"settings-{w}-{i}" for i in range(each)] for w in range(writers)]
    plane.apply(*(named("v1", "ConfigMap", name, namespace, data={"round": "-"}) for g in groups for name in g))
    plane.apply(deployment("web", namespace, replicas=3))
    process, stop = psutil.Process(os.getpid()), threading.Event()
    with watching(plane, tmp_path) as watch, ThreadPoolExecutor(writers) as pool:
        gc.collect()
        before = process.memory_info().rss
        writing = [pool.submit(update, plane, namespace, group, rounds, stop.is_set) for group in groups]
        try:
            quarter = rounds * writers * each // 4
            plane.wait(lambda: rounds_seen(watch, namespace) >= quarter, "a quarter of the updates", 600)
            plane.stop_api_server()
            plane.start_api_server()
            assert sum(future.result(timeout=600) for future in writing) == rounds * writers * each
        finally:
            stop.set()
        final = {
            (o["kind"], o["metadata"]["name"]): (o["metadata"]["uid"], o["metadata"]["resourceVersion"])
            for o in plane.get("configmaps,pods,replicasets,deployments,serviceaccounts", "-n", namespace)["items"]
            if o["kind"] != "ServiceAccount"
        }
        plane.wait(lambda: known(watch, namespace) == final, "the store to equal the final list", 60)
        grown = process.memory_info().rss - before
        table = watch.versions().table.to_pylist()
    seen = {
        (row["name"], json.loads(row["spec"])["data"]["round"])
        for row in table
        if row["kind"] == "ConfigMap" and row["namespace"] == namespace and row["name"].startswith("settings-")
    }
    total = (rounds + 1) * writers * each
    print(f"{rounds * writers * each} updates, {len(seen)} of {total} versions stored, grown {grown / 2**20:.0f} MiB")
    assert len(seen) == total
    assert grown < 200 * 2**20
    assert len(pods(plane, namespace)) == 3


def rounds_seen(watch: Watching, namespace: str) -> int:
    return sum(
        row["kind"] == "ConfigMap" and row["namespace"] == namespace for row in watch.versions().table.to_pylist()
    )


def known(watch: Watching, namespace: str) -> dict[tuple[str, str], tuple[str, str]]:
    """Return what the store says exists, with the version that it has."""
    return {
        (row["kind"], row["name"]): (row["uid"], row["resource_version"])
        for row in watch.versions().table.to_pylist()
        if row["namespace"] == namespace
        and row["valid_to_ns"] is None
        and row["kind"] in ("ConfigMap", "Pod", "ReplicaSet", "Deployment")
    }
