"""Each cause in a cluster is found by name, with its object, its onset and the command to look at it."""

from __future__ import annotations

from typing import Any

import pytest
from kubernetes_edits import CART, NAME, POD, SPEAKERS, Cause, Edit, add, both, found, spec_of, status_of
from kubernetes_objects import Manifest, at, condition, container, event, manifest, pod, replica_set, stamp
from kubernetes_shop import Snapshot, changed, history, shop

from hypocenter.analysis.evidence.kubernetes_causes import causes


def waiting(reason: str, message: str = "") -> list[Manifest]:
    return [
        {"name": "app", "ready": False, "restartCount": 0, "state": {"waiting": {"reason": reason, "message": message}}}
    ]


def ended(code: int, reason: str, seconds: float) -> list[Manifest]:
    last = {"terminated": {"exitCode": code, "reason": reason, "finishedAt": stamp(seconds)}}
    back_off = {"waiting": {"reason": "CrashLoopBackOff"}}
    return [{"name": "app", "ready": False, "restartCount": 4, "state": back_off, "lastState": last}]


def limited(objects: Snapshot) -> None:
    objects[POD]["spec"]["containers"][0]["resources"] = {"limits": {"memory": "64Mi"}}


def new_image(objects: Snapshot) -> None:
    objects[CART]["spec"]["template"]["spec"]["containers"][0]["image"] = "registry.test/app:2"


def rolled_to_bad_image(objects: Snapshot) -> None:
    new_image(objects)
    fresh = replica_set(objects[CART], "bad", revision="2", created=101)
    one = pod("cart-bad-1", owner=fresh, started=102, phase="Pending", statuses=waiting("ErrImagePull", "not found"))
    one["spec"]["containers"][0]["image"] = "registry.test/app:2"
    objects.update({"rs": fresh, "p": one})


def unschedulable(message: str) -> Edit:
    conditions = [condition("PodScheduled", False, 101, "Unschedulable", message)]
    return add(pod("cart-new", node=None, phase="Pending", started=101, conditions=conditions, statuses=[]))


def claim(name: str | None, **status: Any) -> Manifest:
    spec = {"storageClassName": name, "resources": {"requests": {"storage": "5Gi"}}}
    return manifest("PersistentVolumeClaim", "more", created=100, spec=spec, status={"phase": "Pending"} | status)


def tainted(objects: Snapshot) -> None:
    objects["Node/node-2"]["spec"]["taints"] = [{"key": "maintenance", "effect": "NoExecute", "timeAdded": stamp(100)}]


def job(owner: str = "", **status: Any) -> Manifest:
    return manifest("Job", "report-1", created=90, spec={"backoffLimit": 1}, status=status)


def empty_slice(objects: Snapshot) -> None:
    objects["EndpointSlice/cart-abcde"]["endpoints"] = []


def expiring(seconds: float) -> Edit:
    return lambda o: o["Secret/shop-tls"]["metadata"].update(annotations={"example.com/not-after": stamp(seconds)})


REPLICAS, SLICE = "ReplicaSet/cart-7d4b9c6f5d", "EndpointSlice/cart-abcde"
NOW_SHOP = shop()
DENY = {"podSelector": {"matchLabels": {"app": "cart"}}, "policyTypes": ["Ingress"]}


LATE = "ProgressDeadlineExceeded"


DESCRIBE = f"kubectl -n shop describe pod {NAME}"
NEW = "kubectl -n shop describe pod cart-new"
CAUSES = [
    Cause("OOM", both(limited, status_of(POD, containerStatuses=ended(137, "OOMKilled", 99))), "out of memory", NAME,
          "pod", 99, "container app was killed for its memory at its limit of 64Mi", DESCRIBE, before=limited),
    Cause("crash", status_of(POD, containerStatuses=ended(1, "Error", 98)), "crashing", NAME, "pod", 98,
          "exits with code 1 (Error), restarted 4 times", f"kubectl -n shop logs {NAME} -c app --previous --tail=100"),
    Cause("image pull", status_of(POD, containerStatuses=waiting("ImagePullBackOff", "not found")), "image pull", NAME,
          "pod", 100, "cannot pull registry.test/app:1: not found", DESCRIBE),
    Cause("config error", status_of(POD, containerStatuses=waiting("CreateContainerConfigError", "secret x not found")),
          "container configuration", NAME, "pod", 100, "cannot start: secret x not found", DESCRIBE),
    Cause("probe", status_of(POD, conditions=[condition("Ready", False, 96)], containerStatuses=[
          {"name": "app", "ready": False, "state": {"running": {}}}]), "probe failing", NAME, "pod", 96,
          "Readiness probe failed: HTTP 503", DESCRIBE,
          events=(event(NOW_SHOP[POD], "Unhealthy", "Readiness probe failed: HTTP 503", seconds=97),)),
    Cause("evicted", status_of(POD, phase="Failed", reason="Evicted", message="low on memory"), "evicted", NAME, "pod",
          100, "was evicted: low on memory", DESCRIBE),
    Cause("sandbox", lambda o: None, "pod network", NAME, "pod", 60, "has no network on its node: no IP left", DESCRIBE,
          events=(event(NOW_SHOP[POD], "FailedCreatePodSandBox", "no IP left", seconds=60),)),
    Cause("capacity", unschedulable("0/2 nodes are available: 2 Insufficient memory."), "unschedulable", "cart-new",
          "pod", 101, "no node takes it: not enough memory is free", NEW),
    Cause("taint", unschedulable("0/2 nodes are available: 2 node(s) had untolerated taint {gpu: true}."),
          "unschedulable", "cart-new", "pod", 101, "a taint that it does not tolerate: gpu", NEW),
    Cause("affinity", unschedulable("0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector."),
          "unschedulable", "cart-new", "pod", 101, "no node has the labels that it asks for", NEW),
    Cause("quota", lambda o: None, "pods refused", "ResourceQuota/shop/limits", "object", 70,
          "ResourceQuota limits is used up, so Deployment cart gets no pods",
          "kubectl -n shop describe resourcequota limits",
          events=(event(NOW_SHOP[REPLICAS], "FailedCreate", "forbidden: exceeded quota: limits, requested: pods=1",
                        seconds=70),)),
    Cause("webhook", lambda o: None, "pods refused", "Deployment/shop/cart", "object", 70,
          "webhook guard refuses its pods", "kubectl -n shop describe replicaset cart-7d4b9c6f5d",
          events=(event(NOW_SHOP[REPLICAS], "FailedCreate", 'admission webhook "guard" denied it', seconds=70),)),
    Cause("missing class", both(add(claim("slow")), spec_of(POD, volumes=[{"name": "d", "persistentVolumeClaim": {
          "claimName": "more"}}])), "claim pending", "PersistentVolumeClaim/shop/more", "object", 100,
          "is not bound: StorageClass slow does not exist", "kubectl -n shop describe persistentvolumeclaim more"),
    Cause("no default class", both(add(claim(None)), spec_of(POD, volumes=[{"name": "d", "persistentVolumeClaim": {
          "claimName": "more"}}])), "claim pending", "PersistentVolumeClaim/shop/more", "object", 100,
          "the cluster has no default one", "kubectl -n shop describe persistentvolumeclaim more"),
    Cause("lost volume", status_of("PersistentVolumeClaim/cart-data", phase="Lost"), "claim pending",
          "PersistentVolumeClaim/shop/cart-data", "object", 100, "lost its volume",
          "kubectl -n shop describe persistentvolumeclaim cart-data"),
    Cause("attach", add(manifest("VolumeAttachment", "va", namespace=None, created=90,
          spec={"nodeName": "node-2", "source": {"persistentVolumeName": "pv-1"}},
          status={"attachError": {"time": stamp(95), "message": "no disk"}})),
          "volume attachment", "VolumeAttachment/va", "object", 95, "cannot be attached to node-2: no disk",
          "kubectl describe volumeattachment va"),
    Cause("mount", lambda o: None, "volume mount", NAME, "pod", 80, "Multi-Attach error", DESCRIBE,
          events=(event(NOW_SHOP[POD], "FailedAttachVolume", "Multi-Attach error for volume", seconds=80),)),
    Cause("node lost", lambda o: o["Node/node-2"]["status"]["conditions"].__setitem__(
          0, condition("Ready", False, 94) | {"status": "Unknown"}), "node not ready", "node-2", "node", 94,
          "its kubelet stopped reporting", "kubectl describe node node-2"),
    Cause("pressure", lambda o: o["Node/node-2"]["status"]["conditions"].__setitem__(
          2, condition("DiskPressure", True, 93, "KubeletHasDiskPressure", "disk full")), "node pressure", "node-2",
          "node", 93, "has DiskPressure: disk full", "kubectl describe node node-2"),
    Cause("no execute", tainted, "taint", "node-2", "node", 100, "maintenance:NoExecute",
          "kubectl describe node node-2"),
    Cause("budget", status_of("PodDisruptionBudget/cart", currentHealthy=0, desiredHealthy=1), "disruption budget",
          "PodDisruptionBudget/shop/cart", "object", 100, "0 of the 1 pods that it asks for are healthy",
          "kubectl -n shop describe poddisruptionbudget cart"),
    Cause("drain held up", spec_of("Node/node-2", unschedulable=True), "disruption budget",
          "PodDisruptionBudget/shop/cart", "object", 100, "lets none of its pods go, so Node node-2 cannot be drained",
          "kubectl -n shop describe poddisruptionbudget cart",
          before=status_of("PodDisruptionBudget/cart", currentHealthy=1, desiredHealthy=1, disruptionsAllowed=0)),
    Cause("rollout", new_image, "change", "Deployment/shop/cart", "change", 100,
          "template.spec.containers.[app].image: registry.test/app:1 -> registry.test/app:2",
          "kubectl -n shop rollout history deployment/cart"),
    Cause("bad image", rolled_to_bad_image, "change", "Deployment/shop/cart", "change", 100,
          "then Pod cart-bad-1 container app cannot pull registry.test/app:2",
          "kubectl -n shop rollout history deployment/cart"),
    Cause("scale to zero", spec_of(CART, replicas=0), "change", "Deployment/shop/cart", "change", 100,
          "was scaled from 1 to 0", "kubectl -n shop get deployment cart -o yaml --show-managed-fields"),
    Cause("stuck rollout", status_of(CART, conditions=[condition("Progressing", False, 99, LATE)]), "rollout stuck",
          "Deployment/shop/cart", "object", 99, "its rollout does not end",
          "kubectl -n shop rollout status deployment/cart"),
    Cause("config change", lambda o: o["ConfigMap/cart-config"]["data"].update(timeout="1ms"), "change",
          "ConfigMap/shop/cart-config", "change", 100, "data.timeout: 5s -> 1ms; Deployment cart uses it",
          "kubectl -n shop get configmap cart-config -o yaml --show-managed-fields"),
    Cause("secret change", lambda o: o["Secret/cart-db"].update(data={"url": "eA=="}), "change", "Secret/shop/cart-db",
          "change", 100, "was changed; Deployment cart uses it", "kubectl -n shop describe secret cart-db"),
    Cause("config deleted", lambda o: o.pop("ConfigMap/cart-config"), "change", "ConfigMap/shop/cart-config", "change",
          100, "was deleted; Deployment cart uses it",
          "kubectl -n shop get events --field-selector involvedObject.name=cart-config"),
    Cause("autoscaler", status_of("HorizontalPodAutoscaler/cart", currentReplicas=3, conditions=[
          condition("ScalingLimited", True, 88, "TooManyReplicas")]), "autoscaler", "HorizontalPodAutoscaler/shop/cart",
          "object", 88, "is at its maximum of 3 and wants more",
          "kubectl -n shop describe horizontalpodautoscaler cart"),
    Cause("job", add(job(conditions=[condition("Failed", True, 95, "BackoffLimitExceeded", "limit reached")])),
          "job failed", "Job/shop/report-1", "object", 95, "failed: limit reached",
          "kubectl -n shop logs job/report-1", ("report-1",)),
    Cause("suspended", spec_of("CronJob/report", suspend=True), "schedule", "CronJob/shop/report", "object", 100,
          "was suspended", "kubectl -n shop describe cronjob report", ("report",)),
    Cause("piling up", status_of("CronJob/report", active=[{}, {}, {}]), "schedule", "CronJob/shop/report", "object",
          100, "its jobs pile up: 3 run at once", "kubectl -n shop describe cronjob report", ("report",)),
    Cause("selector", both(spec_of("Service/cart", selector={"app": "cartt"}), empty_slice), "no endpoints",
          "Service/shop/cart", "object", 100, "no pod has the labels of its selector app=cartt",
          "kubectl -n shop describe service cart"),
    Cause("named port", lambda o: o["Service/cart"]["spec"]["ports"][0].update(targetPort="grpc"), "wrong port",
          "Service/shop/cart", "object", 100, "targets port grpc, which no container of its pods names",
          "kubectl -n shop describe service cart"),
    Cause("numbered port", lambda o: o["Service/cart"]["spec"]["ports"][0].update(targetPort=9090), "wrong port",
          "Service/shop/cart", "object", 100, "targets port 9090, but its pods declare 8080",
          "kubectl -n shop describe service cart"),
    Cause("backend gone", lambda o: o.pop("Service/web"), "broken reference", "Service/shop/web", "object", 100,
          "Service web was deleted, and Ingress shop sends shop.test/ to it", "kubectl -n shop describe ingress shop",
          ("cart", "web"), calls=(("cart", "web"),)),
    Cause("backend of a typo", lambda o: o["Ingress/shop"]["spec"]["rules"][0]["http"]["paths"][0]["backend"][
          "service"].update(name="wep"), "broken reference", "Ingress/shop/shop", "object", 100,
          "sends shop.test/ to Service wep, which does not exist", "kubectl -n shop describe ingress shop", ("web",)),
    Cause("certificate gone", lambda o: o.pop("Secret/shop-tls"), "broken reference", "Secret/shop/shop-tls", "object",
          100, "was deleted, and Ingress shop refers to it", "kubectl -n shop describe ingress shop", ("web",)),
    Cause("certificate expired", lambda o: None, "certificate expired", "Secret/shop/shop-tls", "object", 50,
          "its certificate has expired", "kubectl -n shop describe secret shop-tls", ("web",), before=expiring(50)),
    Cause("policy", spec_of("NetworkPolicy/cart", ingress=[], **DENY), "network policy", "NetworkPolicy/shop/cart",
          "object", 100, "lets no traffic of web to cart pass", "kubectl -n shop describe networkpolicy cart",
          calls=(("web", "cart"),)),
    Cause("finaliser", lambda o: o["PersistentVolumeClaim/cart-data"]["metadata"].update(
          deletionTimestamp=stamp(100), finalizers=["kubernetes.io/pvc-protection"]), "stuck in deletion",
          "PersistentVolumeClaim/shop/cart-data", "object", 100, "finaliser kubernetes.io/pvc-protection holds it",
          "kubectl -n shop get persistentvolumeclaim cart-data -o yaml"),
]  # fmt: skip


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.name)
def test_cause_is_found_with_object_onset_and_command(cause: Cause) -> None:
    told = found(cause.edit, *cause.events, before=cause.before, calls=cause.calls)
    first = told[0]
    assert (first.rule, first.entity, first.entity_kind, first.onset_ns, first.is_context) == (
        *(cause.rule, cause.entity, cause.kind, at(cause.onset)),
        False,
    )
    assert cause.text in first.text
    assert (first.command, first.services) == (cause.command, cause.services)


def test_healthy_cluster_gives_no_finding() -> None:
    assert found(lambda objects: None) == []
    assert found(lambda objects: None, calls=(("web", "cart"),)) == []


def test_healthy_life_of_a_cluster_gives_no_finding() -> None:
    """A pod starts, an autoscaler scales within its bounds, a CronJob runs, a Secret of nobody is renewed."""

    def live(objects: Snapshot) -> None:
        owner = objects[REPLICAS]
        objects["new"] = pod("cart-7d4b9c6f5d-nnnnn", owner=owner, started=95, ready=False, ready_since=95)
        objects["job"] = manifest("Job", "report-1", created=95, status={"succeeded": 1})
        objects["CronJob/report"]["status"]["lastScheduleTime"] = stamp(840)
        objects["free"] = manifest("Secret", "token", created=95, type="Opaque")
        objects[SLICE]["endpoints"] *= 2

    def lived(objects: Snapshot) -> None:
        live(objects)
        objects["new"] = pod("cart-7d4b9c6f5d-nnnnn", owner=objects[REPLICAS], started=95, ready_since=105)

    quiet = shop()
    steps = [(0.0, quiet), (100.0, changed(quiet, live)), (106.0, changed(quiet, lived))]
    assert causes(history(steps), SPEAKERS, [("web", "cart")]) == []


def test_state_that_began_long_before_is_context() -> None:
    old = lambda o: o["Node/node-2"]["status"]["conditions"].__setitem__(0, condition("Ready", False, -50_000))  # noqa: E731
    told = found(lambda objects: None, before=old)
    assert [(f.rule, f.is_context) for f in told] == [("node not ready", True)]


def test_replicas_that_fail_alike_are_one_finding() -> None:
    def edit(objects: Snapshot) -> None:
        for number in range(3):
            made = pod(f"cart-7d4b9c6f5d-{number}", owner=objects[REPLICAS], statuses=ended(1, "Error", 90 + number))
            objects[f"p{number}"] = made

    (told,) = found(edit)
    assert (told.entity, told.onset_ns) == ("cart-7d4b9c6f5d-0", at(90))
    assert told.text.endswith("restarted 4 times (and 2 more of its pods)")


def test_state_that_comes_back_has_an_onset_of_its_own() -> None:
    def blind(since: float) -> Edit:
        return status_of(
            "HorizontalPodAutoscaler/cart", conditions=[condition("ScalingActive", False, since, "Failed")]
        )

    quiet = shop()
    steps = [(0.0, changed(quiet, blind(0))), (20.0, quiet), (100.0, changed(quiet, blind(100)))]
    told = [(f.rule, f.onset_ns, f.until_ns) for f in causes(history(steps), SPEAKERS, heard_ns=at(200))]
    assert told == [("autoscaler", at(0), at(20)), ("autoscaler", at(100), None)]


def test_init_containers_and_sidecars_are_named_as_such() -> None:
    def edit(objects: Snapshot) -> None:
        objects[POD]["spec"]["initContainers"] = [container("migrate"), container("mesh", restartPolicy="Always")]
        bad = ended(2, "Error", 90)[0]
        objects[POD]["status"]["initContainerStatuses"] = [bad | {"name": "migrate"}, bad | {"name": "mesh"}]

    texts = sorted(f.text for f in found(edit) if f.rule == "crashing")
    assert [t.split(" exits")[0] for t in texts] == [f"Pod {NAME} init container migrate", f"Pod {NAME} sidecar mesh"]


def test_order_of_a_stateful_set_explains_why_pods_are_missing() -> None:
    ledger = manifest("StatefulSet", "ledger", spec={"replicas": 3, "serviceName": "ledger"}, status={})
    first = pod("ledger-0", app="ledger", owner=ledger, phase="Pending", conditions=[condition("Ready", False, 90)])
    told = [f for f in found(both(add(ledger), add(first))) if f.rule == "waiting in order"]
    assert [(f.entity, f.command, f.text) for f in told] == [
        (
            "ledger-0",
            "kubectl -n shop describe pod ledger-0",
            "Pod ledger-0 2 of its 3 pods are not made: ledger-0 comes before them and is not ready",
        )
    ]


def test_cluster_dns_concerns_every_service() -> None:
    dns = manifest(
        "Deployment", "coredns", namespace="kube-system", labels={"k8s-app": "kube-dns"}, spec={"replicas": 2}
    )
    dns["status"] = {"conditions": [condition("Available", False, 95)]}
    (told,) = [f for f in found(add(dns)) if f.rule == "unavailable"]
    assert told.services == ("cart", "report", "web")
    assert "names are not resolved" in told.text


def test_tainted_node_is_to_blame_for_what_it_throws_out_and_does_not_take_back() -> None:
    out = status_of(POD, conditions=[condition("DisruptionTarget", True, 101, "DeletionByTaintManager", "NoExecute")])
    waits = "0/2 nodes are available: 1 node(s) had untolerated taint(s), 1 Too many pods."

    def replaced(objects: Snapshot) -> None:
        conditions = [condition("PodScheduled", False, 102, "Unschedulable", waits)]
        made = pod("cart-new", node=None, owner=objects[REPLICAS], phase="Pending", conditions=conditions, statuses=[])
        objects["new"] = made

    told = {(f.rule, f.onset_ns): (f.entity, f.services, f.text) for f in found(both(tainted, out, replaced))}
    node = ("node-2", ("cart",))
    assert told["evicted", at(101)] == (*node, f"Node node-2 throws out its pods for its taint: {NAME}")
    assert told["unschedulable", at(102)] == (
        *node,
        "Node node-2 takes back no pod that does not tolerate its taint: cart-new waits",
    )


@pytest.mark.parametrize(("age_s", "told"), [(86_400.0, ["was created"]), (5.0, [])])
def test_quota_that_comes_with_its_workloads_changes_nothing(age_s: float, told: list[str]) -> None:
    def aged(objects: Snapshot) -> None:
        for one in objects.values():
            one["metadata"]["creationTimestamp"] = stamp(100 - age_s)

    quota = manifest("ResourceQuota", "tight", created=100, spec={"hard": {"pods": "9"}})
    texts = [f.text for f in found(add(quota), before=aged) if f.entity == "ResourceQuota/shop/tight"]
    assert texts == [f"ResourceQuota tight {text}" for text in told]


def test_rollback_is_told_from_a_rollout() -> None:
    def bad(objects: Snapshot) -> None:
        new_image(objects)
        objects["rs"] = replica_set(objects[CART], "bad", revision="2", created=-600)

    told = found(lambda o: o.update({CART: shop()[CART]}), before=bad)
    assert [f.text for f in told if f.entity == "Deployment/shop/cart"] == [
        "Deployment cart was rolled back: "
        "template.spec.containers.[app].image: registry.test/app:2 -> registry.test/app:1"
    ]


def test_one_dump_tells_of_a_config_map_that_was_edited() -> None:
    fields = [{"manager": "kubectl-edit", "time": stamp(-40)}]
    objects = changed(shop(), lambda o: o["ConfigMap/cart-config"]["metadata"].update(managedFields=fields))
    (told,) = causes(history([(0, objects)]), SPEAKERS)
    assert (told.entity, told.onset_ns) == ("ConfigMap/shop/cart-config", at(-40))
    assert told.text == "ConfigMap cart-config was changed by kubectl-edit; Deployment cart uses it"


def test_malformed_object_stops_no_rule() -> None:
    objects = shop() | {"bad": manifest("Pod", "bad", spec={"containers": 3}, status={"containerStatuses": "x"})}
    problems: list[str] = []
    assert causes(history([(0, objects)]), SPEAKERS, problems=problems) == []
    assert all(line.startswith("Pod/shop/bad: ") for line in problems) and problems


def test_command_quotes_what_a_shell_would_read() -> None:
    told = found(add(pod("x; rm -rf", statuses=ended(1, "Error", 90))))
    assert told[0].command == "kubectl -n shop logs 'x; rm -rf' -c app --previous --tail=100"
