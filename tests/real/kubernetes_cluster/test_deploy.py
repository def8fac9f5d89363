"""deploy/ on a real API server: every overlay is accepted, and the collector's rights are enough and no more."""

from __future__ import annotations

import base64
import itertools
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from control_plane import ControlPlane
from workloads import named, node

from hypocenter.tracer.kubernetes.kinds import KINDS

DEPLOY = Path(__file__).parents[3] / "deploy"
OVERLAYS = sorted(path.name for path in (DEPLOY / "overlays").iterdir())
NAMESPACE = "hypocenter"
COLLECTOR = f"system:serviceaccount:{NAMESPACE}:collector"
READER = f"system:serviceaccount:{NAMESPACE}:reader"


@pytest.fixture(scope="module")
def cluster(plane: ControlPlane) -> Iterator[ControlPlane]:
    """Yield a cluster in which the production overlay was applied for real."""
    if not plane.get("nodes")["items"]:
        plane.kubectl("create", "-f", "-", stdin=[node("node-1"), node("node-2")])
    plane.apply(service_monitor_kind())
    plane.kubectl("wait", "--for=condition=Established", "crd", "servicemonitors.monitoring.coreos.com")
    plane.apply(*volumes())
    apply = ("apply", "--server-side", "-k", str(DEPLOY / "overlays/production"))
    plane.kubectl(*apply)
    yield plane
    plane.kubectl("delete", "-k", str(DEPLOY / "overlays/production"), "--wait=false")
    plane.kubectl("delete", "persistentvolume", "--all", "--wait=false")


def service_monitor_kind() -> dict[str, Any]:
    """Return the definition that the Prometheus Operator brings, reduced to what a ServiceMonitor here uses."""
    text, number = {"type": "string"}, {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    endpoint = {"type": "object", "properties": {"port": text, "path": text, "interval": text}}
    spec = {
        "type": "object",
        "required": ["endpoints", "selector"],
        "properties": {"endpoints": {"type": "array", "items": endpoint}, "selector": number},
    }
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}}
    return named(
        "apiextensions.k8s.io/v1",
        "CustomResourceDefinition",
        "servicemonitors.monitoring.coreos.com",
        spec={
            "group": "monitoring.coreos.com",
            "scope": "Namespaced",
            "names": {"kind": "ServiceMonitor", "plural": "servicemonitors"},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
        },
    )


def volumes() -> list[dict[str, Any]]:
    """Return volumes for the claims, as an administrator without a provisioner makes them."""
    return [
        named(
            "v1",
            "PersistentVolume",
            f"shared-{size.lower()}",
            spec={
                "capacity": {"storage": size},
                "accessModes": ["ReadWriteMany"],
                "nfs": {"server": "nfs.example.internal", "path": f"/{size}"},
            },
        )
        for size in ("500Gi", "5Gi")
    ]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_overlay_passes_the_servers_validation(cluster: ControlPlane, namespace: str, overlay: str) -> None:
    objects = list(yaml.safe_load_all(cluster.kubectl("kustomize", str(DEPLOY / "overlays" / overlay))))
    for found in objects:
        # Beside what runs already, whose claims could not be changed.
        if found["kind"] == "Namespace":
            found["metadata"]["name"] = namespace
        elif "namespace" in found["metadata"]:
            found["metadata"]["namespace"] = namespace
    strict = ("--dry-run=server", "--validate=strict", "--force-conflicts", "-o", "name", "-f", "-")
    assert len(cluster.kubectl("apply", "--server-side", *strict, stdin=objects).split()) == len(objects) > 0


def test_the_overlay_of_the_how_to_puts_its_secret_and_image_in_place(plane: ControlPlane, tmp_path: Path) -> None:
    page = (DEPLOY.parent / "docs/howto/deploy.md").read_text(encoding="utf-8")
    example = re.findall(r"^```yaml\n(.*?)^```", page, re.M | re.S)[0]
    production = os.path.relpath(DEPLOY / "overlays/production", tmp_path)
    (tmp_path / "kustomization.yaml").write_text(example.replace("../production", production), encoding="utf-8")
    (tmp_path / "receiver-url").write_text("https://receiver", encoding="utf-8")
    objects = list(yaml.safe_load_all(plane.kubectl("kustomize", str(tmp_path))))
    secrets = [found for found in objects if found["kind"] == "Secret"]
    hook = next(found for found in objects if found["kind"] == "Deployment")["spec"]["template"]["spec"]
    assert [found["data"] for found in secrets] == [{"receiver-url": base64.b64encode(b"https://receiver").decode()}]
    assert secrets[0]["metadata"]["name"] in [v["secret"]["secretName"] for v in hook["volumes"] if "secret" in v]
    assert hook["containers"][0]["image"] == "registry.your.company/hypocenter:0.1.0"


def test_the_pods_start_under_the_strictest_security_profile(cluster: ControlPlane) -> None:
    def ready() -> dict[str, int]:
        found = cluster.get("statefulsets,deployments", "-n", NAMESPACE)["items"]
        return {o["metadata"]["name"]: o["status"].get("readyReplicas", 0) for o in found}

    cluster.wait(lambda: ready() == {"collector": 2, "hook": 2}, f"the pods; now {ready()}")


def test_services_and_the_budget_select_the_pods(cluster: ControlPlane) -> None:
    def served() -> dict[str, int]:
        slices = cluster.get("endpointslices", "-n", NAMESPACE)["items"]
        names = {s["metadata"]["labels"]["kubernetes.io/service-name"]: len(s["endpoints"] or ()) for s in slices}
        return names | {"ports": sum(len(s["ports"] or ()) for s in slices)}

    cluster.wait(lambda: served() == {"collector": 2, "hook": 2, "ports": 4}, f"endpoints; now {served()}")
    cluster.wait(lambda: cluster.get("pdb", "hook", "-n", NAMESPACE)["status"].get("currentHealthy") == 2, "the budget")


def allowed(cluster: ControlPlane, who: str) -> set[tuple[str, str, str]]:
    """Return group, resource and verb of everything that an account may do, beyond what every account may."""
    review = named("authorization.k8s.io/v1", "SelfSubjectRulesReview", "any", spec={"namespace": "default"})
    del review["metadata"]
    told = cluster.kubectl("create", "--as", who, "--validate=false", "-f", "-", "-o", "json", stdin=review)
    rules = yaml.safe_load(told)["status"]["resourceRules"]
    found = {one for r in rules for one in itertools.product(r["apiGroups"], r["resources"], r["verbs"])}
    return {one for one in found if one[0] not in ("authorization.k8s.io", "authentication.k8s.io")}


def test_the_collector_may_list_and_watch_what_it_watches_and_nothing_else(cluster: ControlPlane) -> None:
    watched = {(kind.version.rpartition("/")[0], kind.plural) for kind in KINDS}
    assert allowed(cluster, COLLECTOR) == {(*kind, verb) for kind in watched for verb in ("list", "watch")}


def test_hook_and_batch_may_nothing(cluster: ControlPlane) -> None:
    assert allowed(cluster, READER) == set()


def test_the_server_agrees_verb_by_verb(cluster: ControlPlane) -> None:
    """What `kubectl auth can-i` asks, for every kind and verb at once."""
    verbs = ("list", "watch", "get", "create", "update", "patch", "delete", "deletecollection")
    asked = [(kind.version.rpartition("/")[0], kind.plural, verb) for kind in KINDS for verb in verbs]
    reviews = [
        named(
            "authorization.k8s.io/v1",
            "SubjectAccessReview",
            "any",
            spec={"user": COLLECTOR, "resourceAttributes": {"group": group, "resource": resource, "verb": verb}},
        )
        for group, resource, verb in asked
    ]
    for review in reviews:
        del review["metadata"]
    told = cluster.kubectl("create", "-f", "-", "-o", "jsonpath={.status.allowed}{'\\n'}", stdin=reviews).split()
    assert told == ["true" if verb in ("list", "watch") else "false" for _, _, verb in asked]
