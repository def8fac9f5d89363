"""The harness: a Deployment comes up, pods fail as their image says, a stopped API server comes back; its metrics."""

from __future__ import annotations

import io
import time
from typing import Any

import pytest
from control_plane import ControlPlane
from workloads import deployment, job, named, pods, reason

from hypocenter.analysis.evidence.kubernetes_rules.control_plane import NAMES, troubled
from hypocenter.tracer.batch import Batch, concat
from hypocenter.tracer.detect import decode
from hypocenter.tracer.source import Source, decompressed
from hypocenter.tracer.window import SECOND_NS


def test_a_deployment_becomes_available(plane: ControlPlane, namespace: str) -> None:
    plane.apply(deployment("web", namespace, replicas=2))
    plane.wait(lambda: plane.get("deployment", "web", "-n", namespace)["status"].get("availableReplicas") == 2, "web")
    found = pods(plane, namespace)
    assert [pod["status"]["phase"] for pod in found] == ["Running", "Running"]
    assert len({pod["status"]["podIP"] for pod in found}) == 2


def test_pods_fail_as_their_image_says(plane: ControlPlane, namespace: str) -> None:
    wanted = {"absent": "ImagePullBackOff", "crash": "CrashLoopBackOff", "oom": "OOMKilled", "unready": "unready"}
    plane.apply(*(deployment(tag, namespace, image=f"shop/web:{tag}") for tag in wanted))

    def told() -> dict[str, Any]:
        return {pod["metadata"]["labels"]["app"]: reason(pod) for pod in pods(plane, namespace)}

    plane.wait(lambda: told() == wanted, f"pods to fail; they say {told()}")


def test_jobs_complete_or_fail(plane: ControlPlane, namespace: str) -> None:
    plane.apply(job("done", namespace), job("failed", namespace, image="shop/job:crash"))

    def ends() -> dict[str, str]:
        jobs = plane.get("jobs", "-n", namespace)["items"]
        ended = {j["metadata"]["name"]: c["type"] for j in jobs for c in j["status"].get("conditions", ())}
        return {name: kind for name, kind in ended.items() if kind in ("Complete", "Failed")}

    plane.wait(lambda: ends() == {"done": "Complete", "failed": "Failed"}, f"jobs to end; now {ends()}")


def test_what_is_stored_survives_the_api_server(plane: ControlPlane, namespace: str) -> None:
    before = plane.get("namespace", namespace)["metadata"]["uid"]
    plane.stop_api_server()
    plane.start_api_server()
    assert plane.get("namespace", namespace)["metadata"]["uid"] == before


def scraped(plane: ControlPlane, seconds: float, number: int) -> list[Batch]:
    """Return what is scraped every five seconds, while somebody writes through the API server."""
    found, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        next_s = time.monotonic() + 5
        for name, text in plane.metrics().items():
            found += decode(Source(name, decompressed(io.BytesIO(text)), time.time_ns()))
        while time.monotonic() < next_s:
            number += 1
            plane.apply(named("v1", "ConfigMap", "written", "default", data={"number": str(number)}))
    return found


@pytest.mark.timeout(900)
def test_a_store_that_gets_slow_is_named_by_the_control_planes_own_metrics(plane: ControlPlane) -> None:
    quiet = scraped(plane, 60, 0)
    began_ns = time.time_ns()
    with plane.slow_store():
        bad = scraped(plane, 95, 1000)
    served = {name for batch in quiet for name in batch.table("series")["name"].to_pylist()}
    # No kubelet runs, nobody scrapes for `up`, and nothing was refused or failed to be scheduled.
    silent = {"kubelet", "up", "apiserver_flowcontrol", "scheduler_schedule"}
    assert {name for name in NAMES if not name.startswith(tuple(silent))} <= served
    calm, whole = concat(quiet), concat([*quiet, *bad])
    assert list(troubled(calm.table("series"), calm.table("points"))) == []
    told = list(troubled(whole.table("series"), whole.table("points")))
    print([(one.component, one.text, (one.onset_ns - began_ns) / SECOND_NS) for one in told])
    # The API server waits for its store, more or less.
    assert {"etcd"} <= {one.component for one in told} <= {"etcd", "kube-apiserver"}
    assert all(abs(one.onset_ns - began_ns) <= 40 * SECOND_NS for one in told)
