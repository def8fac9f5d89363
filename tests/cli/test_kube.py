"""`hypocenter cluster` and `hypocenter changes` show the objects of a store."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from kubernetes_objects import condition, stamp
from kubernetes_shop import Snapshot, changed, rows, shop
from typer.testing import CliRunner

from hypocenter.cli.main import app, main
from hypocenter.errors import SourceError
from hypocenter.tracer.store import Store


def break_node(objects: Snapshot) -> None:
    objects["Node/node-2"]["status"]["conditions"][0] = condition("Ready", False, 95)
    objects["ConfigMap/cart-config"]["data"]["timeout"] = "1s"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("cluster") / "store"
    Store(path, create=True).append(rows([(0, shop()), (100, changed(shop(), break_node))]))
    return str(path)


def run(*arguments: str) -> str:
    done = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_overview_names_what_failed_and_the_next_command(store: str) -> None:
    lines = run("cluster", "--store", store).splitlines()
    assert "2 Pod" in lines[0]
    assert lines[1].startswith(f"{stamp(95)}  Node node-2 is not ready")
    assert lines[2] == "    kubectl describe node node-2"


def test_overview_before_shows_health(store: str) -> None:
    assert run("cluster", "--store", store, "--at", stamp(50)).splitlines()[1:] == [
        "nothing failed and nothing was changed in the hour before"
    ]


def test_layer_path_and_pod(store: str) -> None:
    assert "Pod/shop/cart-7d4b9c6f5d-x2x9z  Node/node-2" in run("cluster", "--store", store, "--layer", "placement")
    assert run("cluster", "--store", store, "--path", "shop.test").strip().endswith("-> Node/node-1")
    (broken,) = json.loads(run("cluster", "--store", store, "--path", "Service/shop/cart", "-o", "json"))
    assert list(broken["broken"]) == ["Node/node-2"]
    told = json.loads(run("cluster", "--store", store, "--pod", "cart-7d4b9c6f5d-x2x9z", "-o", "json"))
    assert (told["stuck"], [s["name"] for s in told["stages"]][-1]) == (None, "ready")


def test_changes_tell_the_difference(store: str) -> None:
    assert run("changes", "--store", store).splitlines() == [
        f"{stamp(100)}  ConfigMap/shop/cart-config was changed: data.timeout: 5s -> 1s"
    ]
    (told,) = json.loads(run("changes", "--store", store, "--at", stamp(120), "--symptom", "cart", "-o", "json"))
    assert (told["services"], told["differences"]) == (
        ["cart"],
        [{"path": "data.timeout", "before": "5s", "after": "1s"}],
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--layer", "owners"], "expected ownership"),
        (["-o", "yaml"], "'yaml' is not one of 'text', 'json'"),
        (["--at", "soon"], "expected RFC 3339"),
    ],
)
def test_wrong_arguments_are_refused(store: str, arguments: list[str], message: str) -> None:
    done = CliRunner().invoke(app, ["cluster", "--store", store, *arguments], env={"COLUMNS": "200"})
    assert done.exit_code == 2
    assert message in done.output


def test_store_without_objects_says_how_to_get_them(tmp_path: Path) -> None:
    Store(tmp_path / "s", create=True)
    done = CliRunner().invoke(app, ["cluster", "--store", str(tmp_path / "s")])
    assert "holds no Kubernetes objects" in str(done.exception)


def test_collect_names_the_kubeconfig_that_it_cannot_read(tmp_path: Path) -> None:
    absent = str(tmp_path / "absent")
    done = CliRunner().invoke(app, ["collect", "--store", str(tmp_path / "store"), "--kubeconfig", absent])
    assert isinstance(done.exception, SourceError)
    assert str(done.exception).startswith(f"{absent}: ") and "say --kubeconfig FILE" in str(done.exception)


def test_what_a_cluster_says_does_not_steer_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def hostile(objects: Snapshot) -> None:
        objects["Ingress/shop"]["spec"]["rules"][0]["host"] = "\x1b[2Jshop\u202e.test"
        objects["ConfigMap/cart-config"]["data"]["timeout"] = "\x1b[2J\x9b1s"

    place = str(tmp_path / "store")
    Store(place, create=True).append(rows([(0, shop()), (100, changed(shop(), hostile))]))
    assert "data.timeout: 5s -> \ufffd[2J\ufffd1s" in run("changes", "--store", place)
    monkeypatch.setattr(sys, "argv", ["hypocenter", "cluster", "--store", place, "--path", "no.test"])
    with pytest.raises(SystemExit, match="1"):
        main()
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "hypocenter: no Ingress or route has the host no.test; known: \ufffd[2Jshop\ufffd.test"
