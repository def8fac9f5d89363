"""The series of kube-state-metrics give the objects that the API server would have told of."""

from __future__ import annotations

import io
import re
from typing import Any

import orjson
import pytest
from kubernetes_objects import NOW_NS, at, container, pod
from kubernetes_shop import WINDOW, shop
from kubernetes_shop import history as objects_history

from hypocenter.analysis.evidence.kubernetes_causes import causes, find_causes
from hypocenter.analysis.evidence.kubernetes_measured import measured
from hypocenter.analysis.evidence.kubernetes_rules.throttling import throttled
from hypocenter.graph.kubernetes import History
from hypocenter.graph.kubernetes_services import ServiceJoin, Speakers
from hypocenter.tracer.batch import Batch, concat
from hypocenter.tracer.detect import decode
from hypocenter.tracer.kubernetes.state_metrics import to_objects
from hypocenter.tracer.kubernetes.state_series import SERIES
from hypocenter.tracer.kubernetes.versions import order
from hypocenter.tracer.pull.discovery import useful
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


AT = NOW_NS // 10**9
CONTAINER = f'{POD},container="app"'
HPA = 'namespace="shop",horizontalpodautoscaler="cart"'
SERVICE = 'kube_service_info{namespace="shop",service="cart"} 1'
PATH = 'kube_ingress_path{namespace="shop",ingress="shop",host="shop.test",path="/",service_name="cart"'


def ended(reason: str, code: int) -> str:
    last = "kube_pod_container_status_last_terminated"
    return f"""{last}_reason{{{CONTAINER},reason="{reason}"}} 1
{last}_exitcode{{{CONTAINER}}} {code}
{last}_timestamp{{{CONTAINER}}} {AT + 110}"""


UNREADY = f"""kube_pod_status_ready{{{POD},condition="true"}} 0
kube_pod_status_ready{{{POD},condition="false"}} 1
kube_pod_container_status_running{{{CONTAINER}}} 1
kube_pod_container_status_ready{{{CONTAINER}}} 0"""
SPENT = """kube_resourcequota{namespace="shop",resourcequota="limits",resource="pods",type="used"} 10
kube_resourcequota{namespace="shop",resourcequota="limits",resource="pods",type="hard"} 10
kube_deployment_spec_replicas{namespace="shop",deployment="cart"} 3
kube_deployment_status_replicas_ready{namespace="shop",deployment="cart"} 2"""
ENDPOINT = 'kube_endpoint_address{namespace="shop",endpoint="cart",ip="10.0.0.7",ready="true"} 1'
SLICE = 'kube_endpointslice_endpoints{namespace="shop",endpointslice="cart-abcde",address="10.0.0.7",ready="true"} 1'
AT_MOST = f"""kube_horizontalpodautoscaler_spec_max_replicas{{{HPA}}} 3
kube_horizontalpodautoscaler_status_current_replicas{{{HPA}}} 3
kube_horizontalpodautoscaler_status_condition{{{HPA},condition="ScalingLimited",status="true"}} 1"""
PHASE = 'kube_persistentvolumeclaim_status_phase{namespace="shop",persistentvolumeclaim="data"'
CRON = 'namespace="shop",cronjob="report"'


def said(*texts: str) -> str:
    """Return the quiet series, and those of texts in their place or beside them."""
    lines = "\n".join([QUIET, *texts]).split("\n")
    return "\n".join(f"{name} {value}" for name, value in dict(line.rsplit(" ", 1) for line in lines if line).items())


def vanished(quiet: str) -> tuple[str, str]:
    """Return what stands before and after an endpoint went, of which its own object still tells."""
    kind = "endpointslice" if "endpointslice" in quiet else "endpoint"
    name = "cart-abcde" if kind == "endpointslice" else "cart"
    held = f'{SERVICE}\nkube_{kind}_info{{namespace="shop",{kind}="{name}"}} 1\n'
    return held + quiet, held + quiet.replace("} 1", "} NaN")


@pytest.mark.parametrize(
    ("before", "after", "rule", "entity"),
    [
        ("", ended("Error", 1), "crashing", "cart-7d4b9c6f5d-x2x9z"),
        ("", ended("OOMKilled", 137), "out of memory", "cart-7d4b9c6f5d-x2x9z"),
        ("", f'kube_pod_container_status_waiting_reason{{{CONTAINER},reason="ErrImagePull"}} 1', "image pull",
         "cart-7d4b9c6f5d-x2x9z"),
        ("", UNREADY, "probe failing", "cart-7d4b9c6f5d-x2x9z"),
        ("", f"kube_pod_status_unschedulable{{{POD}}} 1", "unschedulable", "cart-7d4b9c6f5d-x2x9z"),
        ("", f'kube_pod_status_reason{{{POD},reason="Evicted"}} 1', "evicted", "cart-7d4b9c6f5d-x2x9z"),
        ("", f'{PHASE},phase="Lost"}} 1\n{PHASE},phase="Bound"}} 0',
         "claim pending", "PersistentVolumeClaim/shop/data"),
        (*vanished(ENDPOINT), "no endpoints", "Service/shop/cart"),
        (*vanished(SLICE), "no endpoints", "Service/shop/cart"),
        (SERVICE, f'{SERVICE}\n{PATH.replace("cart", "crat")}}} 1', "broken reference", "Ingress/shop/shop"),
        ("", 'kube_node_status_condition{node="node-2",condition="DiskPressure",status="true"} 1', "node pressure",
         "node-2"),
        ("", 'kube_job_status_failed{namespace="shop",job_name="report-1",reason="BackoffLimitExceeded"} 1',
         "job failed", "Job/shop/report-1"),
        ("", f"kube_cronjob_next_schedule_time{{{CRON}}} {AT + 30}", "schedule", "CronJob/shop/report"),
        ("", AT_MOST, "autoscaler",
         "HorizontalPodAutoscaler/shop/cart"),
        ("", SPENT, "quota used up", "ResourceQuota/shop/limits"),
        ('kube_deployment_metadata_generation{namespace="shop",deployment="cart"} 1',
         'kube_deployment_metadata_generation{namespace="shop",deployment="cart"} 2', "change", "Deployment/shop/cart"),
    ],
    ids=lambda told: told if isinstance(told, str) and len(told) < 20 else "",
)  # fmt: skip
def test_each_row_of_the_table_of_causes_is_told_by_series_alone(
    before: str, after: str, rule: str, entity: str
) -> None:
    steps = [(0.0, said(before)), (60.0, said(before))]
    steps += [(seconds, said(before, after)) for seconds in (120.0, 180.0, 240.0)]
    speakers = Speakers({}, {}, frozenset({"cart"}))
    found = [f for f in causes(history(read(*steps)), speakers, heard_ns=at(240)) if not f.is_context]
    assert (rule, entity) in {(f.rule, f.entity) for f in found}
    told = next(f for f in found if (f.rule, f.entity) == (rule, entity))
    assert at(30) <= told.onset_ns <= at(120)
    assert told.command.startswith("kubectl ")


def test_series_that_are_looked_at_are_pulled() -> None:
    dear = re.compile(r"kube_\w+_(labels|created)|kube_service_spec_type")  # one for each object, and told elsewhere
    assert set(SERIES) - set(useful(SERIES)) == {name for name in SERIES if dear.fullmatch(name)}


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


def test_throttled_container_is_a_finding_with_its_limit_and_the_next_command() -> None:
    batch = read(*[(60.0 * m, counters(m, 4)) for m in range(9)])
    app = container(resources={"limits": {"cpu": "250m"}})
    seen = objects_history([(0, shop() | {"Pod/cart-7d4b9c6f5d-x2x9z": pod(containers=[app])})])
    join = ServiceJoin(seen.whole, Speakers({}, {}, frozenset({"cart"})))
    (told,) = measured(seen, join, batch.table("series"), batch.table("points"))
    assert (told.rule, told.entity, told.entity_kind, told.services) == (
        *("CPU throttled", "cart-7d4b9c6f5d-x2x9z", "pod", ("cart",)),
    )
    assert (told.onset_ns, told.command) == (at(300), "kubectl -n shop describe pod cart-7d4b9c6f5d-x2x9z")
    assert "container app is held back at its limit of 250m in 50% of its periods, 0% before" in told.text


def test_container_that_was_always_throttled_explains_nothing() -> None:
    batch = read(*[(60.0 * m, counters(m, 0)) for m in range(9)])
    assert list(throttled(batch.table("series"), batch.table("points"))) == []
