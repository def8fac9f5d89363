"""The rarer causes in a cluster: each is found by name, with its object, its onset and the command to look at it."""

from __future__ import annotations

from typing import Any

import pytest
from kubernetes_edits import CART, NAME, POD, Cause, add, both, found, status_of
from kubernetes_edits import spec_of as spec
from kubernetes_objects import Manifest, at, condition, event, manifest, stamp
from kubernetes_shop import Snapshot, shop

from hypocenter.analysis.evidence.kubernetes_rules.scheduling import unschedulable_reason

NOW = shop()
DESCRIBE = f"kubectl -n shop describe pod {NAME}"
REPLICAS, NODE = "ReplicaSet/cart-7d4b9c6f5d", "Node/node-2"


def claim(storage_class: str, phase: str = "Pending") -> Manifest:
    wanted = {"storageClassName": storage_class, "resources": {"requests": {"storage": "5Gi"}}}
    return manifest("PersistentVolumeClaim", "more", created=100, spec=wanted, status={"phase": phase})


MOUNTED = spec(POD, volumes=[{"name": "d", "persistentVolumeClaim": {"claimName": "more"}}])


def claimed(storage_class: str) -> Any:
    return both(add(claim(storage_class)), MOUNTED)


def in_system(kind: str, name: str, app: str, **content: Any) -> Manifest:
    return manifest(kind, name, namespace="kube-system", labels={"k8s-app": app}, **content)


def http(objects: Snapshot) -> Manifest:
    backend: Manifest = objects["Ingress/shop"]["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]
    return backend


def route(service: str) -> Manifest:
    rules = [{"backendRefs": [{"name": service, "port": 80}]}]
    wanted = {"parentRefs": [{"name": "edge"}], "hostnames": ["shop.test"], "rules": rules}
    return manifest("HTTPRoute", "shop", created=-900, spec=wanted)


def without_slices(objects: Snapshot) -> None:
    for name in ("web", "cart"):
        objects.pop(f"EndpointSlice/{name}-abcde")


def short_of_pods(objects: Snapshot) -> None:
    objects[CART]["spec"]["replicas"] = 3
    objects["ResourceQuota/limits"]["status"]["used"]["pods"] = "10"


LIMIT = "maximum memory usage per Container is 1Gi, but limit is 2Gi"
PROBED = spec(POD, containers=[{"name": "app", "livenessProbe": {"timeoutSeconds": 1, "failureThreshold": 1}}])
EVICTING = condition("DisruptionTarget", True, 99, "EvictionByEvictionAPI", "Eviction API: evicting")
SPARE = status_of("PodDisruptionBudget/cart", currentHealthy=2, desiredHealthy=1, disruptionsAllowed=1)
QUOTA, CLAIM = "ResourceQuota/shop/limits", "PersistentVolumeClaim/shop/more"
CAUSES = [
    Cause("probe too strict", lambda o: None, "probe failing", NAME, "pod", 97,
          "Liveness probe failed: timeout (it allows 1 s, and 1 failures in a row)", DESCRIBE, before=PROBED,
          events=(event(NOW[POD], "Unhealthy", "Liveness probe failed: timeout", seconds=97),)),
    Cause("evicted by the API", status_of(POD, conditions=[EVICTING]), "evicted", NAME, "pod", 99,
          "is taken off its node: Eviction API: evicting", DESCRIBE),
    Cause("pod of a lost node", status_of(POD, reason="NodeLost", phase="Unknown"), "node lost", NAME, "pod", 100,
          "is on a node that nobody hears from", DESCRIBE),
    Cause("limit range", lambda o: None, "pods refused", "Deployment/shop/cart", "object", 70,
          f"a LimitRange refuses its pods: {LIMIT}", "kubectl -n shop describe replicaset cart-7d4b9c6f5d",
          events=(event(NOW[REPLICAS], "FailedCreate", LIMIT, seconds=70),)),
    Cause("pods not made", status_of(REPLICAS, conditions=[
          condition("ReplicaFailure", True, 99, "FailedCreate", "no service account")]), "pods refused",
          "Deployment/shop/cart", "object", 99, "its pods cannot be made: no service account",
          "kubectl -n shop describe replicaset cart-7d4b9c6f5d"),
    Cause("quota spent, nobody says so", short_of_pods, "quota used up", QUOTA, "object", 100,
          "is used up (pods: 10 of 10), and Deployment cart lacks pods",
          "kubectl -n shop describe resourcequota limits"),
    Cause("no volume fits", claimed("by-hand"), "claim pending", CLAIM, "object", 100,
          "no PersistentVolume of StorageClass by-hand fits, and it provisions none",
          "kubectl -n shop describe persistentvolumeclaim more", before=add(manifest(
              "StorageClass", "by-hand", namespace=None, provisioner="kubernetes.io/no-provisioner"))),
    Cause("provisioner", claimed("fast"), "claim pending", CLAIM, "object", 100,
          "StorageClass fast has not provisioned its 5Gi", "kubectl -n shop describe persistentvolumeclaim more"),
    Cause("volume failed", status_of("PersistentVolume/pv-1", phase="Failed", message="disk is gone"), "volume failed",
          "PersistentVolume/pv-1", "object", 100, "failed: disk is gone", "kubectl describe persistentvolume pv-1"),
    Cause("node removed", lambda o: o.pop(NODE), "node removed", "node-2", "node", 100,
          "was removed from the cluster while pods ran on it", "kubectl get nodes"),
    Cause("node out of memory", lambda o: None, "node event", "node-2", "node", 40, "ran out of memory: victim java",
          "kubectl describe node node-2", events=(event(NOW[NODE], "SystemOOM", "victim java", seconds=40),)),
    Cause("cordoned", spec(NODE, unschedulable=True), "taint", "node-2", "node", 100,
          "was cordoned: no new pods come here", "kubectl describe node node-2", before=SPARE),
    Cause("proxy", add(in_system("DaemonSet", "kube-proxy", "kube-proxy", spec={}, status={
          "desiredNumberScheduled": 2, "numberReady": 0})), "unavailable", "DaemonSet/kube-system/kube-proxy",
          "object", 100, "Services are not routed in the whole cluster",
          "kubectl -n kube-system describe daemonset kube-proxy", ("cart", "report", "web"), before=add(in_system(
              "DaemonSet", "kube-proxy", "kube-proxy", spec={},
              status={"desiredNumberScheduled": 2, "numberReady": 2}))),
    Cause("pods of a job fail", add(manifest("Job", "report-1", created=90, spec={"backoffLimit": 4},
          status={"failed": 1})), "job failed", "Job/shop/report-1", "object", 90, "has failed pods: 1 so far",
          "kubectl -n shop logs job/report-1", ("report-1",)),
    Cause("schedule missed", lambda o: None, "schedule", "CronJob/shop/report", "object", 30,
          "missed its time: too many missed start times", "kubectl -n shop describe cronjob report", ("report",),
          events=(event(NOW["CronJob/report"], "MissSchedule", "too many missed start times", seconds=30),)),
    Cause("schedule is due", status_of("CronJob/report", lastScheduleTime=stamp(-900)), "schedule",
          "CronJob/shop/report", "object", -600, "was due and did not start", "kubectl -n shop describe cronjob report",
          ("report",)),
    Cause("blind autoscaler", status_of("HorizontalPodAutoscaler/cart", conditions=[
          condition("ScalingActive", False, 88, "FailedGetResourceMetric", "no metrics")]), "autoscaler",
          "HorizontalPodAutoscaler/shop/cart", "object", 88, "cannot scale: no metrics",
          "kubectl -n shop describe horizontalpodautoscaler cart"),
    Cause("service deleted", lambda o: o.pop("Service/cart"), "change", "Service/shop/cart", "change", 100,
          "was deleted", "kubectl -n shop get events --field-selector involvedObject.name=cart", ("cart", "web"),
          calls=(("web", "cart"),)),
    Cause("selector without slices", spec("Service/cart", selector={"app": "cartt"}), "selector", "Service/shop/cart",
          "object", 100, "no pod has the labels of its selector app=cartt", "kubectl -n shop describe service cart",
          before=without_slices),
    Cause("port of a backend", lambda o: http(o).update(port={"number": 81}), "broken reference", "Ingress/shop/shop",
          "object", 100, "sends to port 81 of Service web, which offers 80, http",
          "kubectl -n shop describe ingress shop", ("web",)),
    Cause("port of a Service", lambda o: o["Service/web"]["spec"]["ports"][0].update(port=81), "broken reference",
          "Ingress/shop/shop", "object", 100, "sends to port 80 of Service web, which offers 81, http",
          "kubectl -n shop describe ingress shop", ("web",)),
    Cause("class of an Ingress", spec("Ingress/shop", ingressClassName="gone"), "broken reference",
          "Ingress/shop/shop", "object", 100, "refers to IngressClass gone, which does not exist",
          "kubectl -n shop describe ingress shop", ("web",)),
    Cause("default backend", spec("Ingress/shop", defaultBackend={"service": {"name": "wep", "port": {"number": 80}}}),
          "broken reference", "Ingress/shop/shop", "object", 100, "sends * to Service wep, which does not exist",
          "kubectl -n shop describe ingress shop", ("web",)),
    Cause("route of a gateway", lambda o: o["HTTPRoute/shop"]["spec"]["rules"][0]["backendRefs"][0].update(name="wep"),
          "broken reference", "HTTPRoute/shop/shop", "object", 100,
          "sends shop.test/ to Service wep, which does not exist", "kubectl -n shop describe httproute shop", ("web",),
          before=both(add(route("web")), add(manifest("Gateway", "edge", spec={"gatewayClassName": "mesh"})),
                      add(manifest("GatewayClass", "mesh", namespace=None, spec={})))),
    Cause("namespace that does not go", lambda o: o["Namespace/shop"]["metadata"].update(deletionTimestamp=stamp(100))
          or o["Namespace/shop"].update(spec={"finalizers": ["kubernetes"]}), "stuck in deletion", "Namespace/shop",
          "object", 100, "finaliser kubernetes holds it", "kubectl get namespace shop -o yaml", ("cart", "web")),
]  # fmt: skip


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.name)
def test_rarer_cause_is_found_with_object_onset_and_command(cause: Cause) -> None:
    first = found(cause.edit, *cause.events, before=cause.before, calls=cause.calls)[0]
    assert (first.rule, first.entity, first.entity_kind, first.onset_ns, first.is_context) == (
        *(cause.rule, cause.entity, cause.kind, at(cause.onset)),
        False,
    )
    assert cause.text in first.text
    assert (first.command, first.services) == (cause.command, cause.services)


def test_quota_that_is_spent_while_nobody_lacks_pods_is_no_cause() -> None:
    assert found(lambda o: o["ResourceQuota/limits"]["status"]["used"].update(pods="10")) == []


def test_volume_that_two_services_mount_explains_both() -> None:
    """Who shares a volume fails together."""

    def lost(objects: Snapshot) -> None:
        objects["PersistentVolumeClaim/cart-data"]["status"]["phase"] = "Lost"

    web = spec("Pod/web-7d4b9c6f5d-x2x9z", volumes=[{"name": "d", "persistentVolumeClaim": {"claimName": "cart-data"}}])
    (told,) = found(lost, before=web)
    assert (told.entity, told.services) == ("PersistentVolumeClaim/shop/cart-data", ("cart", "web"))


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ('persistentvolumeclaim "x" not found', "its claim x does not exist"),
        ("2 pod has unbound immediate PersistentVolumeClaims", "its volume claim is not bound"),
        ("2 node(s) had volume node affinity conflict", "its volume lies where no free node is"),
        ("2 node(s) had untolerated taint(s)", "the nodes carry taints that it does not tolerate"),
        ("2 node(s) had untolerated taint {gpu: true}", "the nodes carry a taint that it does not tolerate: gpu"),
        ("2 node(s) had taint {old: 1}, that the pod didn't tolerate", "the nodes carry a taint that it does not"),
        ("2 Insufficient nvidia.com/gpu", "not enough nvidia.com/gpu is free"),
        ("2 Too many pods", "the nodes have their full number of pods"),
        ("2 node(s) didn't match Pod's node affinity/selector", "no node has the labels that it asks for"),
        ("2 node(s) didn't match pod anti-affinity rules", "its affinity to other pods leaves no node"),
        ("2 node(s) didn't match pod topology spread constraints", "its spread over topology leaves no node"),
        ("2 node(s) didn't have free ports", "its host port is taken on every node"),
        ("2 node(s) were unschedulable", "the nodes are cordoned"),
        ("no nodes available to schedule pods", "the cluster has no node"),
        ("something else", "0/2 nodes are available: something else."),
    ],
)
def test_every_reason_of_the_scheduler_has_its_words(said: str, words: str) -> None:
    assert unschedulable_reason(f"0/2 nodes are available: {said}.").startswith(words)
