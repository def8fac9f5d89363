"""What each series of kube-state-metrics says of an object."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

Manifest = dict[str, Any]
# Puts into a manifest what labels and value say.
Say = Callable[[Manifest, Mapping[str, str], float], None]


def _stamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _owner(one: Manifest, labels: Mapping[str, str], value: float) -> None:
    kind, name = labels.get("owner_kind"), labels.get("owner_name")
    if kind and name and kind != "<none>":
        uid = f"{kind}/{labels.get('namespace') or ''}/{name}"
        one["metadata"]["ownerReferences"] = [{"kind": kind, "name": name, "uid": uid, "controller": True}]


def _created(one: Manifest, labels: Mapping[str, str], value: float) -> None:
    one["metadata"]["creationTimestamp"] = _stamp(value)


def _object_labels(one: Manifest, labels: Mapping[str, str], value: float) -> None:
    # Names were made fit for Prometheus; those that the conventions know are given back.
    known = {
        "app_kubernetes_io_name": "app.kubernetes.io/name",
        "app_kubernetes_io_instance": "app.kubernetes.io/instance",
    }
    found = {k.removeprefix("label_"): v for k, v in labels.items() if k.startswith("label_")}
    one["metadata"]["labels"] = {known.get(k, k): v for k, v in found.items()}


def _exists(one: Manifest, labels: Mapping[str, str], value: float) -> None:
    if uid := labels.get("uid"):
        one["metadata"]["uid"] = uid


def _pod_info(one: Manifest, labels: Mapping[str, str], value: float) -> None:
    _exists(one, labels, value)
    if node := labels.get("node"):
        one["spec"]["nodeName"] = node


def _phase(one: Manifest, labels: Mapping[str, str], value: float) -> None:
    if value == 1:
        one["status"]["phase"] = labels.get("phase")


def _reason(one: Manifest, labels: Mapping[str, str], value: float) -> None:
    if value == 1:
        one["status"]["reason"] = labels.get("reason")


def _condition(kind: str | None = None, true: str = "true") -> Say:
    def say(one: Manifest, labels: Mapping[str, str], value: float) -> None:
        told = labels.get("status") or labels.get("condition") or ""
        name = kind or labels.get("condition") or ""
        if value == 1:
            found = one["status"].setdefault("conditions", {}).setdefault(name, {"type": name})
            found["status"] = told.capitalize()

    return say


def _unschedulable(one: Manifest, labels: Mapping[str, str], value: float) -> None:
    if value == 1:
        found = one["status"].setdefault("conditions", {}).setdefault("PodScheduled", {"type": "PodScheduled"})
        found |= {"status": "False", "reason": "Unschedulable"}


def _container(one: Manifest, labels: Mapping[str, str]) -> Manifest:
    name = labels.get("container") or ""
    found: Manifest = one["status"].setdefault("containerStatuses", {}).setdefault(name, {"name": name})
    return found


def _container_info(one: Manifest, labels: Mapping[str, str], value: float) -> None:
    name = labels.get("container") or ""
    one["spec"].setdefault("containers", {})[name] = {
        "name": name,
        "image": labels.get("image_spec") or labels.get("image"),
    }


def _waits(one: Manifest, labels: Mapping[str, str], value: float) -> None:
    if value == 1:
        _container(one, labels).setdefault("state", {})["waiting"] = {"reason": labels.get("reason")}


def _last(field: str, of: Callable[[Mapping[str, str], float], Any]) -> Say:
    def say(one: Manifest, labels: Mapping[str, str], value: float) -> None:
        if value or field == "exitCode":
            ended = _container(one, labels).setdefault("lastState", {}).setdefault("terminated", {})
            ended[field] = of(labels, value)
            if field == "reason" and ended[field] == "OOMKilled":
                ended.setdefault("exitCode", 137)

    return say


def _container_field(field: str, of: Callable[[float], Any]) -> Say:
    def say(one: Manifest, labels: Mapping[str, str], value: float) -> None:
        _container(one, labels)[field] = of(value)

    return say


def _runs(one: Manifest, labels: Mapping[str, str], value: float) -> None:
    if value == 1:
        _container(one, labels).setdefault("state", {})["running"] = {}


def _claim_of_pod(one: Manifest, labels: Mapping[str, str], value: float) -> None:
    claim = {"claimName": labels.get("persistentvolumeclaim")}
    one["spec"].setdefault("volumes", []).append({"name": labels.get("volume"), "persistentVolumeClaim": claim})


def _number(part: str, field: str) -> Say:
    def say(one: Manifest, labels: Mapping[str, str], value: float) -> None:
        one[part][field] = int(value)

    return say


def _label(part: str, field: str, label: str) -> Say:
    def say(one: Manifest, labels: Mapping[str, str], value: float) -> None:
        _exists(one, labels, value)
        if found := labels.get(label):
            one[part][field] = found

    return say


def _taint(one: Manifest, labels: Mapping[str, str], value: float) -> None:
    one["spec"].setdefault("taints", []).append({"key": labels.get("key"), "effect": labels.get("effect")})


def _claim(one: Manifest, labels: Mapping[str, str], value: float) -> None:
    one["spec"] |= {"storageClassName": labels.get("storageclass"), "volumeName": labels.get("volumename")}


def _storage_class(one: Manifest, labels: Mapping[str, str], value: float) -> None:
    one |= {"provisioner": labels.get("provisioner"), "volumeBindingMode": labels.get("volume_binding_mode")}


def _endpoints(one: Manifest, labels: Mapping[str, str], value: float) -> None:
    # Endpoints are named as their Service is, and their slices with a suffix.
    name = labels.get("endpoint") or (labels.get("endpointslice") or "").rpartition("-")[0]
    one["metadata"]["labels"] = {"kubernetes.io/service-name": name}
    one.setdefault("endpoints", [])


def _address(one: Manifest, labels: Mapping[str, str], value: float) -> None:
    _endpoints(one, labels, value)
    conditions = {"ready": labels.get("ready") != "false"}
    target = {"kind": labels.get("targetref_kind"), "name": labels.get("targetref_name")}
    address = labels.get("ip") or labels.get("address")
    one["endpoints"].append({"addresses": [address], "conditions": conditions, "targetRef": target})


def _ingress_path(one: Manifest, labels: Mapping[str, str], value: float) -> None:
    backend = {"service": {"name": labels.get("service_name"), "port": {"name": labels.get("service_port")}}}
    rule = {"host": labels.get("host"), "http": {"paths": [{"path": labels.get("path"), "backend": backend}]}}
    one["spec"].setdefault("rules", []).append(rule)


def _ingress_tls(one: Manifest, labels: Mapping[str, str], value: float) -> None:
    one["spec"].setdefault("tls", []).append(
        {"hosts": [labels.get("tls_host")], "secretName": labels.get("secret_name") or labels.get("secret")}
    )


def _cron(one: Manifest, labels: Mapping[str, str], value: float) -> None:
    one["spec"]["schedule"] = labels.get("schedule")


def _active(one: Manifest, labels: Mapping[str, str], value: float) -> None:
    one["status"]["active"] = [{}] * min(int(value), 1000)


def _written(one: Manifest, labels: Mapping[str, str], value: float) -> None:
    # The content is not told, only that it was written: the number stands for it.
    text = labels.get("resource_version") or f"{value:.0f}"
    one["metadata"]["resourceVersion"] = text
    one["resourceVersion"] = text


def _quota(one: Manifest, labels: Mapping[str, str], value: float) -> None:
    side = "hard" if labels.get("type") == "hard" else "used"
    one["status"].setdefault(side, {})[labels.get("resource") or ""] = f"{value:g}"


def _at_time(field: str) -> Say:
    def say(one: Manifest, labels: Mapping[str, str], value: float) -> None:
        if value > 0:
            one["status"][field] = _stamp(value)

    return say


def _suspended(one: Manifest, labels: Mapping[str, str], value: float) -> None:
    one["spec"]["suspend"] = value == 1


def _cordoned(one: Manifest, labels: Mapping[str, str], value: float) -> None:
    if value == 1:
        one["spec"]["unschedulable"] = True


def _failed(one: Manifest, labels: Mapping[str, str], value: float) -> None:
    one["status"]["failed"] = max(int(value), int(one["status"].get("failed") or 0))
    if value and (reason := labels.get("reason")) in ("BackoffLimitExceeded", "DeadLineExceeded", "DeadlineExceeded"):
        one["status"].setdefault("conditions", {})["Failed"] = {"type": "Failed", "status": "True", "reason": reason}


_HPA: Final = ("HorizontalPodAutoscaler", "horizontalpodautoscaler")
# The metric, with the kind it speaks of, the label that names the object, and what it says.
SERIES: Final[dict[str, tuple[str, str, Say]]] = {
    "kube_pod_info": ("Pod", "pod", _pod_info),
    "kube_pod_owner": ("Pod", "pod", _owner),
    "kube_pod_created": ("Pod", "pod", _created),
    "kube_pod_labels": ("Pod", "pod", _object_labels),
    "kube_pod_status_phase": ("Pod", "pod", _phase),
    "kube_pod_status_reason": ("Pod", "pod", _reason),
    "kube_pod_status_ready": ("Pod", "pod", _condition("Ready")),
    "kube_pod_status_scheduled": ("Pod", "pod", _condition("PodScheduled")),
    "kube_pod_status_unschedulable": ("Pod", "pod", _unschedulable),
    "kube_pod_container_info": ("Pod", "pod", _container_info),
    "kube_pod_container_status_waiting_reason": ("Pod", "pod", _waits),
    "kube_pod_container_status_running": ("Pod", "pod", _runs),
    "kube_pod_container_status_ready": ("Pod", "pod", _container_field("ready", lambda value: value == 1)),
    "kube_pod_container_status_restarts_total": ("Pod", "pod", _container_field("restartCount", int)),
    "kube_pod_container_status_last_terminated_reason": (
        "Pod",
        "pod",
        _last("reason", lambda labels, value: labels.get("reason")),
    ),
    "kube_pod_container_status_last_terminated_exitcode": (
        "Pod",
        "pod",
        _last("exitCode", lambda labels, value: int(value)),
    ),
    "kube_pod_container_status_last_terminated_timestamp": (
        "Pod",
        "pod",
        _last("finishedAt", lambda labels, value: _stamp(value)),
    ),
    "kube_pod_spec_volumes_persistentvolumeclaims_info": ("Pod", "pod", _claim_of_pod),
    "kube_replicaset_owner": ("ReplicaSet", "replicaset", _owner),
    "kube_replicaset_created": ("ReplicaSet", "replicaset", _created),
    "kube_deployment_created": ("Deployment", "deployment", _created),
    "kube_deployment_labels": ("Deployment", "deployment", _object_labels),
    "kube_deployment_spec_replicas": ("Deployment", "deployment", _number("spec", "replicas")),
    "kube_deployment_metadata_generation": ("Deployment", "deployment", _number("spec", "generation")),
    "kube_deployment_status_replicas_ready": ("Deployment", "deployment", _number("status", "readyReplicas")),
    "kube_deployment_status_condition": ("Deployment", "deployment", _condition()),
    "kube_statefulset_replicas": ("StatefulSet", "statefulset", _number("spec", "replicas")),
    "kube_statefulset_status_replicas_ready": ("StatefulSet", "statefulset", _number("status", "readyReplicas")),
    "kube_daemonset_status_desired_number_scheduled": (
        "DaemonSet",
        "daemonset",
        _number("status", "desiredNumberScheduled"),
    ),
    "kube_daemonset_status_number_ready": ("DaemonSet", "daemonset", _number("status", "numberReady")),
    "kube_node_info": ("Node", "node", _exists),
    "kube_node_created": ("Node", "node", _created),
    "kube_node_status_condition": ("Node", "node", _condition()),
    "kube_node_spec_unschedulable": ("Node", "node", _cordoned),
    "kube_node_spec_taint": ("Node", "node", _taint),
    "kube_persistentvolumeclaim_status_phase": ("PersistentVolumeClaim", "persistentvolumeclaim", _phase),
    "kube_persistentvolumeclaim_info": ("PersistentVolumeClaim", "persistentvolumeclaim", _claim),
    "kube_persistentvolume_status_phase": ("PersistentVolume", "persistentvolume", _phase),
    "kube_storageclass_info": ("StorageClass", "storageclass", _storage_class),
    "kube_service_info": ("Service", "service", _exists),
    "kube_service_spec_type": ("Service", "service", _label("spec", "type", "type")),
    "kube_endpoint_info": ("EndpointSlice", "endpoint", _endpoints),
    "kube_endpoint_address": ("EndpointSlice", "endpoint", _address),
    "kube_endpointslice_info": ("EndpointSlice", "endpointslice", _endpoints),
    "kube_endpointslice_endpoints": ("EndpointSlice", "endpointslice", _address),
    "kube_ingress_path": ("Ingress", "ingress", _ingress_path),
    "kube_ingress_tls": ("Ingress", "ingress", _ingress_tls),
    "kube_job_owner": ("Job", "job_name", _owner),
    "kube_job_created": ("Job", "job_name", _created),
    "kube_job_status_failed": ("Job", "job_name", _failed),
    "kube_cronjob_info": ("CronJob", "cronjob", _cron),
    "kube_cronjob_spec_suspend": ("CronJob", "cronjob", _suspended),
    "kube_cronjob_status_active": ("CronJob", "cronjob", _active),
    "kube_cronjob_status_last_schedule_time": ("CronJob", "cronjob", _at_time("lastScheduleTime")),
    "kube_cronjob_next_schedule_time": ("CronJob", "cronjob", _at_time("nextScheduleTime")),
    "kube_horizontalpodautoscaler_spec_max_replicas": (*_HPA, _number("spec", "maxReplicas")),
    "kube_horizontalpodautoscaler_status_current_replicas": (*_HPA, _number("status", "currentReplicas")),
    "kube_horizontalpodautoscaler_status_condition": (*_HPA, _condition()),
    "kube_configmap_metadata_resource_version": ("ConfigMap", "configmap", _written),
    "kube_secret_metadata_resource_version": ("Secret", "secret", _written),
    "kube_resourcequota": ("ResourceQuota", "resourcequota", _quota),
    "kube_namespace_created": ("Namespace", "namespace", _created),
}
