"""What every manifest in deploy/ must be, before a cluster sees it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from hypocenter.cli.main import app
from hypocenter.hook.config import build_config
from hypocenter.tracer.collect.config import read_settings

DEPLOY = Path(__file__).parents[2] / "deploy"
STORE = Path("/var/lib/hypocenter")
COMMANDS: dict[str, Any] = dict(typer.main.get_command(app).commands)  # type: ignore[attr-defined]


def documents() -> Iterator[tuple[Path, dict[str, Any]]]:
    for path in sorted(DEPLOY.rglob("*.yaml")):
        for found in yaml.safe_load_all(path.read_text(encoding="utf-8")):
            if "kind" in found and "apiVersion" in found:
                yield path, found


def pod_specs() -> list[Any]:
    """Return the pods that the objects would make, named by their object."""
    found = []
    for _, thing in documents():
        spec = thing.get("spec", {})
        spec = spec.get("jobTemplate", {}).get("spec", spec)
        if "template" in spec:
            found.append(pytest.param(thing["kind"], spec["template"]["spec"], id=thing["kind"]))
    return found


PODS = pytest.mark.parametrize("kind, pod", pod_specs())


def test_each_way_to_run_has_its_object() -> None:
    assert [pod.id for pod in pod_specs()] == ["CronJob", "StatefulSet", "Deployment", "Job"]


@PODS
def test_a_pod_runs_as_nobody_and_changes_only_its_volumes(kind: str, pod: dict[str, Any]) -> None:
    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "runAsGroup": 65532,
        "fsGroup": 65532,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    for container in pod["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
        assert "/tmp" in mounted


@PODS
def test_a_pod_says_what_it_needs_and_is_bounded_in_memory(kind: str, pod: dict[str, Any]) -> None:
    for container in pod["containers"]:
        assert set(container["resources"]["requests"]) == {"cpu", "memory"}
        assert "memory" in container["resources"]["limits"]


@PODS
def test_what_serves_is_probed(kind: str, pod: dict[str, Any]) -> None:
    for container in pod["containers"]:
        probes = {name: container[name]["httpGet"]["path"] for name in container if name.endswith("Probe")}
        serves = {"startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/readyz"}
        assert probes == (serves if "ports" in container else {})


@PODS
def test_only_the_collector_has_a_token_and_writes_the_store(kind: str, pod: dict[str, Any]) -> None:
    is_collector = kind == "StatefulSet"
    assert pod["serviceAccountName"] == ("collector" if is_collector else "reader")
    assert pod.get("automountServiceAccountToken", True) is is_collector
    store = [mount for c in pod["containers"] for mount in c["volumeMounts"] if mount["name"] == "store"]
    assert [mount.get("readOnly", False) for mount in store] == [not is_collector]


def test_no_rule_gives_more_than_reading_named_kinds() -> None:
    rules = [rule for _, thing in documents() if thing["kind"] == "ClusterRole" for rule in thing.get("rules", ())]
    assert rules and all(rule["verbs"] == ["list", "watch"] for rule in rules)
    assert not any("*" in rule["resources"] + rule["apiGroups"] for rule in rules)


def test_no_secret_is_written_down() -> None:
    assert not [path for path, thing in documents() if thing["kind"] == "Secret"]


def test_the_collectors_settings_are_understood() -> None:
    settings = read_settings(DEPLOY / "base/collect.yaml", {})
    assert settings.store == str(STORE)
    assert (settings.otlp.grpc, settings.otlp.http, settings.admin) == ("0.0.0.0:4317", "0.0.0.0:4318", "0.0.0.0:4319")
    assert set(settings.pulled) == {"kubernetes"}


def test_the_hooks_settings_are_understood() -> None:
    config = build_config(yaml.safe_load((DEPLOY / "base/hook.config.yaml").read_text(encoding="utf-8")), "hook.yaml")
    assert (config.store, config.state, config.host_and_port) == (str(STORE), Path("/var/lib/hook"), ("0.0.0.0", 9095))


@PODS
def test_every_command_and_option_exists(kind: str, pod: dict[str, Any]) -> None:
    for container in pod["containers"]:
        command, *rest = container["args"]
        known = {option for parameter in COMMANDS[command].params for option in parameter.opts}
        assert {word for word in rest if word.startswith("--")} <= known
