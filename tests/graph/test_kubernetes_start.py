"""The start of a pod is told stage by stage, and the stage that is stuck names whose work it is."""

from __future__ import annotations

from typing import Any

import pytest
from kubernetes_objects import Manifest, condition, container, event, manifest, pod
from kubernetes_shop import history, shop

from hypocenter.graph.kubernetes_start import PodStart, pod_start

DONE = condition("PodScheduled", True, 1)


def start(made: Manifest, *events: Manifest, **more: Manifest) -> PodStart:
    found = history([(2, shop() | {"new": made} | more)], events)
    return pod_start(found, found.whole.objects[made["metadata"]["uid"]])


def waiting(reason: str, message: str = "") -> list[dict[str, Any]]:
    return [{"name": "app", "state": {"waiting": {"reason": reason, "message": message}}}]


def test_healthy_start_is_told_to_the_end() -> None:
    made = pod("new", started=0)
    told = start(made, event(made, "Pulled", seconds=2, warning=False))
    assert str(told).splitlines() == [
        "accepted               +0.0 s  API server",
        "stored                 +0.0 s  etcd",
        "scheduled              +0.0 s  scheduler: node-1",
        "network                +1.0 s  runtime and CNI",
        "images                 +2.0 s  kubelet, registry",
        "started                +3.0 s  kubelet",
        "ready                  +5.0 s  readiness probe",
    ]
    assert told.stuck is None


CLAIM = {"volumes": [{"name": "d", "persistentVolumeClaim": {"claimName": "more"}}]}


@pytest.mark.parametrize(
    ("made", "stage", "component", "note"),
    [
        (pod("new", node=None, started=0, phase="Pending", statuses=[], conditions=[]), "scheduled", "scheduler",
         "the scheduler has not looked at it"),
        (pod("new", node=None, started=0, phase="Pending", statuses=[], conditions=[
            condition("PodScheduled", False, 1, "Unschedulable", "0/2 nodes are available")]), "scheduled", "scheduler",
         "0/2 nodes are available"),
        (pod("new", started=0, phase="Pending", statuses=waiting("ContainerCreating"), conditions=[DONE], spec=CLAIM),
         "volumes", "provisioner", "more is not bound"),
        (pod("new", started=0, phase="Pending", statuses=waiting("ImagePullBackOff", "no such tag"), conditions=[
            DONE, condition("PodReadyToStartContainers", True, 2)]), "images", "kubelet, registry", "no such tag"),
        (pod("new", started=0, statuses=waiting("CrashLoopBackOff", "back-off 40s"), conditions=[
            DONE, condition("PodReadyToStartContainers", True, 2), condition("Ready", False, 3)]), "started",
         "container app", "app: back-off 40s"),
        (pod("new", started=0, ready=False, ready_since=4), "ready", "readiness probe", "runs, is not ready"),
    ],
    ids=["not looked at", "unschedulable", "volume", "image", "crash", "probe"],
)  # fmt: skip
def test_stuck_stage_names_its_component(made: Manifest, stage: str, component: str, note: str) -> None:
    stuck = start(made).stuck
    assert stuck is not None
    assert (stuck.name, stuck.component, stuck.note) == (stage, component, note)


def test_network_that_fails_is_the_runtimes_or_the_cnis() -> None:
    made = pod("new", started=0, phase="Pending", statuses=waiting("ContainerCreating"), conditions=[DONE])
    stuck = start(made, event(made, "FailedCreatePodSandBox", "no IP left", seconds=3)).stuck
    assert stuck is not None
    assert (stuck.component, stuck.note) == ("runtime and CNI", "no IP left")


def test_volume_that_is_not_attached_is_the_attachers() -> None:
    bound = {"volumes": [{"name": "d", "persistentVolumeClaim": {"claimName": "cart-data"}}]}
    made = pod("new", started=0, phase="Pending", statuses=waiting("ContainerCreating"), conditions=[DONE], spec=bound)
    stuck = start(made, event(made, "FailedAttachVolume", "Multi-Attach error", seconds=3)).stuck
    assert stuck is not None
    assert (stuck.name, stuck.component, stuck.note) == (
        "volumes",
        "attach controller, CSI driver",
        "Multi-Attach error",
    )


def test_init_container_that_fails_keeps_the_others_waiting() -> None:
    made = pod(
        "new",
        started=0,
        phase="Pending",
        statuses=waiting("PodInitializing"),
        conditions=[DONE, condition("PodReadyToStartContainers", True, 2), condition("Initialized", False, 2)],
        spec={"initContainers": [container("migrate")]},
        status={"initContainerStatuses": [waiting("CrashLoopBackOff")[0] | {"name": "migrate"}]},
    )
    stuck = start(made, event(made, "Pulled", seconds=3, warning=False)).stuck
    assert stuck is not None
    assert (stuck.name, stuck.component, stuck.note) == ("initialised", "init containers", "migrate CrashLoopBackOff")


def test_kubelet_that_is_silent_is_found_at_its_node() -> None:
    made = pod("new", started=0, phase="Pending", statuses=[], conditions=[DONE], node="gone")
    lost = manifest("Node", "gone", namespace=None, status={"conditions": [condition("Ready", False, -9)]})
    told = start(made, lost=lost)
    assert told.stages[2].note == "gone, which is not ready"
    assert told.stuck is not None and told.stuck.name == "network"
