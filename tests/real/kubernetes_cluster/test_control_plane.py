"""The harness itself: a Deployment comes up, pods fail as their image says, and a stopped API server comes back."""

from __future__ import annotations

from typing import Any

from control_plane import ControlPlane
from workloads import deployment, job, pods, reason


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
