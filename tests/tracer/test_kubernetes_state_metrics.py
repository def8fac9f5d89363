"""The series of kube-state-metrics give the objects that the API server would have told of."""

from __future__ import annotations

import io
from typing import Any

import orjson
from kubernetes_objects import NOW_NS, at
from kubernetes_shop import WINDOW

from hypocenter.analysis.evidence.kubernetes_causes import find_causes
from hypocenter.analysis.evidence.kubernetes_rules.throttling import throttled
from hypocenter.graph.kubernetes import History
from hypocenter.tracer.batch import Batch, concat
from hypocenter.tracer.detect import decode
from hypocenter.tracer.kubernetes.state_metrics import to_objects
from hypocenter.tracer.kubernetes.versions import order
from hypocenter.tracer.source import Source, decompressed

POD = 'namespace="shop",pod="cart-7d4b9c6f5d-x2x9z",uid="u1"'
QUIET = f"""
kube_pod_info{{{POD},node="node-2"}} 1
kube_pod_owner{{{POD},owner_kind="ReplicaSet",owner_name="cart-7d4b9c6f5d",owner_is_controller="true"}} 1
kube_replicaset_owner{{namespace="shop",replicaset="cart-7d4b9c6f5d",owner_kind="Deployment",owner_name="cart"}} 1
kube_deployment_created{{namespace="shop",deployment="cart"}} {NOW_NS // 10**9 - 86400}
kube_pod_created{{{POD}}} {NOW_NS // 10**9 - 86400}
kube_pod_status_phase{{{POD},phase="Running"}} 1
kube_pod_status_ready{{{POD},condition="true"}} 1
kube_pod_status_ready{{{POD},condition="false"}} 0
kube_node_info{{node="node-2"}} 1
kube_node_created{{node="node-2"}} {NOW_NS // 10**9 - 86400}
kube_node_status_condition{{node="node-2",condition="Ready",status="true"}} 1
kube_node_status_condition{{node="node-2",condition="Ready",status="false"}} 0
kube_persistentvolumeclaim_status_phase{{namespace="shop",persistentvolumeclaim="data",phase="Bound"}} 1
kube_configmap_metadata_resource_version{{namespace="shop",configmap="cart"}} 17
"""


def read(*scrapes: tuple[float, str]) -> Batch:
    """Return what scrapes at some seconds yield."""
    batches = []
    for seconds, text in scrapes:
        source = Source("metrics", decompressed(io.BytesIO(text.strip().encode() + b"\n")), at(seconds))
        batches.append(concat(decode(source)))
    return concat(batches)


def history(batch: Batch) -> History:
    return History.of(order(to_objects(batch.table("series"), batch.table("points"))), WINDOW)


def test_pod_is_known_with_owner_node_and_condition() -> None:
    batch = read((0, QUIET))
    cluster = history(batch).at(at(1))
    pod = cluster.by_key["Pod/shop/cart-7d4b9c6f5d-x2x9z"]
    assert (pod.uid, pod.spec["nodeName"], pod.condition("Ready")["status"]) == ("u1", "node-2", "True")
    assert cluster.root(pod).key == "Deployment/shop/cart"
    assert [(e.source, e.target) for e in cluster.edges if e.layer == "placement"] == [(pod.key, "Node/node-2")]


def test_states_that_began_are_causes_with_their_time() -> None:
    ill = QUIET.replace('status="true"} 1', 'status="true"} 0').replace('status="false"} 0', 'status="false"} 1')
    ill = ill.replace("} 17", "} 18")
    ill += f'kube_pod_container_status_waiting_reason{{{POD},container="app",reason="ImagePullBackOff"}} 1\n'
    ill += 'kube_deployment_spec_replicas{namespace="shop",deployment="cart"} 1\n'
    found = find_causes(history(read((0, QUIET), (60, QUIET), (120, ill))))
    told = {(f.rule, f.entity, round((f.onset_ns - at(0)) / 1e9)) for f in found if not f.is_context}
    assert {("node not ready", "node-2", 120), ("image pull", "cart-7d4b9c6f5d-x2x9z", 120)} <= told


def test_healthy_series_give_no_finding() -> None:
    assert find_causes(history(read((0, QUIET), (60, QUIET)))) == []


def test_unchanged_series_make_one_version() -> None:
    batch = read((0, QUIET), (60, QUIET), (120, QUIET))
    table = to_objects(batch.table("series"), batch.table("points"))
    assert sorted(table["kind"].to_pylist()) == [
        *("ConfigMap", "Deployment", "Node", "PersistentVolumeClaim", "Pod", "ReplicaSet")
    ]
    assert all(orjson.loads(text) is not None for text in table["spec"].to_pylist())


def test_other_metrics_give_no_objects() -> None:
    batch = read((0, 'up{job="x"} 1'))
    assert to_objects(batch.table("series"), batch.table("points")).num_rows == 0


def counters(minute: int, throttle_from: int) -> str:
    labels = '{namespace="shop",pod="cart-7d4b9c6f5d-x2x9z",container="app"}'
    held = 300 * max(minute - throttle_from, 0)
    return (
        f"container_cpu_cfs_periods_total{labels} {600 * minute}\n"
        f"container_cpu_cfs_throttled_periods_total{labels} {held}\n"
    )


def test_container_that_reaches_its_cpu_limit_is_told_with_its_onset() -> None:
    batch = read(*[(60.0 * m, counters(m, 4)) for m in range(9)])
    found: list[Any] = list(throttled(batch.table("series"), batch.table("points")))
    assert [(t.pod, t.container, t.onset_ns, t.before, t.since) for t in found] == [
        ("cart-7d4b9c6f5d-x2x9z", "app", at(300), 0.0, 0.5)
    ]


def test_container_that_was_always_throttled_explains_nothing() -> None:
    batch = read(*[(60.0 * m, counters(m, 0)) for m in range(9)])
    assert list(throttled(batch.table("series"), batch.table("points"))) == []
