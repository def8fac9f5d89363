"""A Kubernetes object becomes a row that holds what evidence needs, and never the data of a Secret."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from kubernetes_objects import NOW_NS, SECOND, at, container, event, manifest, pod, stamp

from hypocenter.tracer.batch import Batch, concat
from hypocenter.tracer.detect import decode, detect
from hypocenter.tracer.kubernetes.rows import event_row, object_row, to_batch
from hypocenter.tracer.kubernetes.versions import LISTED, Versions, order, read_versions, rows_around, within
from hypocenter.tracer.privacy import Privacy
from hypocenter.tracer.source import Source, decompressed
from hypocenter.tracer.store import Store
from hypocenter.tracer.window import Window

CANARY = "s3cr3t-canary-9f2"


def read(content: bytes, time_ns: int | None = None) -> Batch:
    source = Source("objects", decompressed(io.BytesIO(content)), time_ns)
    return concat(decode(source, detect(source)))


def spec(row: dict[str, Any]) -> Any:
    return orjson.loads(row["spec"])


def test_pod_keeps_identity_owner_labels_and_what_it_asks_for() -> None:
    owner = manifest("ReplicaSet", "cart-7d4b9c6f5d")
    row = object_row(pod(owner=owner), "test", NOW_NS)
    assert {
        key: row[key] for key in ("kind", "uid", "namespace", "name", "owner_uid", "valid_from_ns", "created_ns")
    } == {
        "kind": "Pod",
        "uid": "uid-pod-cart-7d4b9c6f5d-x2x9z",
        "namespace": "shop",
        "name": "cart-7d4b9c6f5d-x2x9z",
        "owner_uid": "uid-replicaset-cart-7d4b9c6f5d",
        "valid_from_ns": NOW_NS,
        "created_ns": at(-3600),
    }
    assert row["labels"] == [("app", '"cart"'), ("app.kubernetes.io/name", '"cart"')]
    assert spec(row)["nodeName"] == "node-1"
    assert orjson.loads(row["status"])["containerStatuses"][0]["state"] == {"running": {"startedAt": stamp(-3597)}}


def test_secret_keeps_type_and_a_digest_of_its_keys_but_no_value() -> None:
    secret = manifest("Secret", "db", type="Opaque", data={"password": CANARY}, stringData={"user": CANARY})
    secret["metadata"]["annotations"] = {
        "kubectl.kubernetes.io/last-applied-configuration": json.dumps({"data": {"password": CANARY}}),
        "note": CANARY,
        "cert-manager.io/certificate-name": "web",
        "example.com/not-after": stamp(60),
    }
    row = object_row(secret, "test")
    assert CANARY not in repr(row)
    assert spec(row) == {"type": "Opaque"}
    assert orjson.loads(row["status"])["metadata"]["annotations"] == {
        "cert-manager.io/certificate-name": "web",
        "example.com/not-after": stamp(60),
    }
    changed = object_row({**secret, "data": {"password": "other"}}, "test")
    renamed = object_row({**secret, "data": {"pass": CANARY}}, "test")
    assert (changed["spec_digest"] == row["spec_digest"], renamed["spec_digest"] == row["spec_digest"]) == (True, False)


def test_plain_secrets_in_variables_and_config_maps_are_masked_before_they_are_stored() -> None:
    env = [{"name": "DB_PASSWORD", "value": CANARY}, {"name": "MODE", "value": "fast"}]
    config = manifest("ConfigMap", "app", data={"app.properties": f"password={CANARY}\nmode=fast"})
    rows = [object_row(o, "test") for o in (pod(containers=[container(env=env)]), config)]
    batch = Privacy().apply(to_batch(rows, []))
    stored = [orjson.loads(text) for text in batch.tables["objects"]["spec"].to_pylist()]
    assert CANARY not in repr(batch.tables["objects"].to_pylist())
    assert stored[0]["containers"][0]["env"] == {"DB_PASSWORD": "***", "MODE": "fast"}
    assert stored[1]["data"] == {"app.properties": "password=***\nmode=fast"}


def test_heartbeats_do_not_change_a_version() -> None:
    def node(heartbeat: float) -> Any:
        beat = {
            "type": "Ready",
            "status": "True",
            "lastHeartbeatTime": stamp(heartbeat),
            "lastTransitionTime": stamp(-9),
        }
        return object_row(manifest("Node", "n", namespace=None, status={"conditions": [beat]}), "test", NOW_NS)

    assert node(1) == node(2)


def test_who_wrote_the_specification_last_is_told_by_managed_fields() -> None:
    fields = [
        {"manager": "kubectl-edit", "operation": "Update", "time": stamp(-40)},
        {"manager": "kube-controller-manager", "operation": "Update", "time": stamp(-5), "subresource": "status"},
    ]
    row = object_row(manifest("ConfigMap", "app", meta={"managedFields": fields}, data={}), "test")
    assert orjson.loads(row["status"])["metadata"] == {"changedAt": stamp(-40), "changedBy": "kubectl-edit"}
    assert row["valid_from_ns"] == at(-5)


def test_event_row_stands_at_its_latest_occurrence() -> None:
    told = event(pod(), "BackOff", "Back-off restarting", seconds=30, firstTimestamp=stamp(-60), count=7)
    row = event_row(told, "test")
    assert {key: row[key] for key in ("time_ns", "kind", "reason", "object_kind", "object_name", "namespace")} == {
        "time_ns": at(30),
        "kind": "kubernetes",
        "reason": "BackOff",
        "object_kind": "Pod",
        "object_name": "cart-7d4b9c6f5d-x2x9z",
        "namespace": "shop",
    }
    assert dict(row["attributes"])["count"] == "7"
    assert dict(row["attributes"])["first_ns"] == str(at(-60))


OBJECTS = [manifest("ConfigMap", "a", data={"x": "1"}), pod(), event(pod(), "Pulled")]
TYPED = {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": [{"metadata": pod()["metadata"], "spec": {}}]}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (json.dumps({"apiVersion": "v1", "kind": "List", "items": OBJECTS}).encode(), ["ConfigMap", "Pod", "event"]),
        (
            json.dumps({"apiVersion": "v1", "kind": "List", "items": OBJECTS}, indent=4).encode(),
            ["ConfigMap", "Pod", "event"],
        ),
        (b"\n".join(json.dumps(o).encode() for o in OBJECTS), ["ConfigMap", "Pod", "event"]),
        (
            b"\n".join(json.dumps({"type": "ADDED", "object": o}).encode() for o in OBJECTS),
            ["ConfigMap", "Pod", "event"],
        ),
        (json.dumps(OBJECTS[1]).encode(), ["Pod"]),
        (json.dumps(TYPED).encode(), ["Pod"]),
        (yaml.safe_dump_all(OBJECTS).encode(), ["ConfigMap", "Pod", "event"]),
        (
            yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": OBJECTS}).encode(),
            ["ConfigMap", "Pod", "event"],
        ),
    ],
    ids=["list", "pretty list", "lines", "watch", "one object", "typed list", "yaml documents", "yaml list"],
)
def test_dumps_of_every_shape_are_read(content: bytes, expected: list[str]) -> None:
    batch = read(content)
    assert [*batch.table("objects")["kind"].to_pylist(), *["event"] * batch.table("events").num_rows] == expected
    assert not batch.tally.dropped


def test_template_without_a_time_needs_one() -> None:
    template = b"apiVersion: v1\nkind: Service\nmetadata:\n  name: cart\nspec: {}\n---\n{{ broken\n"
    assert dict(read(template).tally.dropped) == {
        "Kubernetes object without a time (say --time)": 1,
        "broken YAML document": 1,
    }
    timed = read(template, NOW_NS).table("objects").to_pylist()
    assert [(row["uid"], row["valid_from_ns"], row["created_ns"]) for row in timed] == [("Service//cart", NOW_NS, None)]


def test_aliases_that_would_explode_are_refused() -> None:
    bomb = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\na0: &a0 [x]\n"
    bomb += "".join(f"a{i + 1}: &a{i + 1} [{', '.join([f'*a{i}'] * 9)}]\n" for i in range(30))
    assert dict(read(bomb.encode(), NOW_NS).tally.dropped) == {"broken YAML document": 1}


def versions(rows: list[dict[str, Any]], events: list[dict[str, Any]] | None = None) -> list[tuple[Any, ...]]:
    batch = to_batch(rows, events or [])
    found = order(batch.table("objects"), batch.table("events")).table.to_pylist()
    return [
        (
            row["name"],
            orjson.loads(row["spec"]).get("data"),
            (row["valid_from_ns"] - NOW_NS) // SECOND,
            None if row["valid_to_ns"] is None else (row["valid_to_ns"] - NOW_NS) // SECOND,
        )
        for row in found
    ]


def config(value: str, seconds: float, name: str = "a") -> dict[str, Any]:
    return object_row(manifest("ConfigMap", name, created=-100, data={"x": value}), "test", at(seconds))


def listed(seconds: float, kind: str = "ConfigMap") -> dict[str, Any]:
    return {"time_ns": at(seconds), "kind": "kubernetes", "reason": LISTED, "object_kind": kind, "source": "test"}


def test_versions_end_where_the_next_begins_and_unchanged_ones_are_merged() -> None:
    rows = [config("2", 20), config("1", 0), config("1", 10), config("2", 30)]
    assert versions(rows) == [("a", {"x": "1"}, -100, 20), ("a", {"x": "2"}, 20, None)]


def test_deleted_object_ends_and_may_come_back() -> None:
    gone = config("1", 10) | {"valid_to_ns": at(10)}
    assert versions([config("1", 0), gone, config("1", 30)]) == [
        ("a", {"x": "1"}, -100, 10),
        ("a", {"x": "1"}, 30, None),
    ]


def test_object_that_a_complete_list_lacks_is_gone() -> None:
    rows = [config("1", 0), config("1", 0, "b"), config("1", 50)]
    assert versions(rows, [listed(0), listed(50)]) == [("a", {"x": "1"}, -100, None), ("b", {"x": "1"}, -100, 50)]


@pytest.mark.parametrize("start", range(0, 60, 5))
def test_rows_around_a_window_make_the_versions_of_all_rows(start: int, tmp_path: Path) -> None:
    back = [config("1", 10) | {"valid_to_ns": at(10)}, config("1", 30)]
    rows = [config("1", 0), *back, config("2", 40), config("2", 50), config("1", 0, "b"), config("1", 50, "c")]
    store, window = Store(tmp_path / "store", create=True), Window(at(start), at(60))
    store.append(to_batch(rows, [listed(0), listed(50)]))
    marks = store.read("events", Window(0, window.end_ns))

    def inside(found: Versions) -> list[tuple[Any, ...]]:
        rows = within(found, window).table.to_pylist()
        return [(r["name"], r["spec"], max(r["valid_from_ns"], window.start_ns), r["valid_to_ns"]) for r in rows]

    assert inside(order(rows_around(store, window), marks)) == inside(read_versions(store, window)) != []
    assert rows_around(store, Window(at(45), at(50))).num_rows == 2  # the newest of a and of b


def test_secret_written_anew_is_a_new_version() -> None:
    def secret(written: str, seconds: float) -> dict[str, Any]:
        made = manifest("Secret", "db", created=-100, meta={"resourceVersion": written}, data={"password": CANARY})
        return object_row(made, "test", at(seconds))

    assert versions([secret("1", 0), secret("1", 5), secret("2", 9)]) == [("db", None, -100, 9), ("db", None, 9, None)]
