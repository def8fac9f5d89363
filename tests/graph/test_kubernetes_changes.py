"""What was changed in a cluster is told with its difference, and never the data of a Secret."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from kubernetes_objects import at, manifest
from kubernetes_shop import WINDOW, Snapshot, changed, history, rows, shop
from small_incident import table

from hypocenter.analysis.changes import changes
from hypocenter.graph.kubernetes_changes import Difference, _differences, changes_of
from hypocenter.tracer.batch import Batch
from hypocenter.tracer.store import Store


def told(*edits: Any, before: Any = None) -> list[tuple[int, str, str, list[str]]]:
    quiet = changed(shop(), before) if before else shop()
    found = changes_of(history([(0, quiet), (100, changed(quiet, *edits))]))
    return [(round((c.time_ns - at(0)) / 1e9), c.found.key, c.verb, [str(d) for d in c.differences]) for c in found]


def test_file_of_a_config_map_is_compared_by_lines() -> None:
    before = changed(shop(), lambda o: o["ConfigMap/cart-config"]["data"].update(file="a=1\nb=2\nc=3\n"))
    after = changed(before, lambda o: o["ConfigMap/cart-config"]["data"].update(file="a=1\nb=5\nc=3\nd=4\n"))
    (found,) = changes_of(history([(0, before), (100, after)]))
    assert [str(d) for d in found.differences] == ["data.file line 2: b=2 -> b=5", "data.file line 4: d=4 added"]


def test_container_that_is_added_is_named() -> None:
    def edit(objects: Snapshot) -> None:
        objects["Deployment/cart"]["spec"]["template"]["spec"]["containers"].append({"name": "mesh", "image": "mesh:1"})

    assert told(edit) == [
        (100, "Deployment/shop/cart", "rolled out",
         ["template.spec.containers.[mesh]: {'image': 'mesh:1', 'name': 'mesh'} added"]),
    ]  # fmt: skip


def test_secret_that_changed_shows_no_difference() -> None:
    assert told(lambda o: o["Secret/cart-db"].update(data={"url": "czNjcjN0"})) == [
        (100, "Secret/shop/cart-db", "changed", [])
    ]


def test_status_and_what_controllers_do_are_no_changes() -> None:
    def edit(objects: Snapshot) -> None:
        objects["Deployment/cart"]["status"]["replicas"] = 0
        objects["EndpointSlice/cart-abcde"]["endpoints"] = []
        objects.pop("Pod/cart-7d4b9c6f5d-x2x9z")
        objects["lease"] = manifest("ConfigMap", "kube-root-ca.crt", created=50, data={})
        objects["PersistentVolumeClaim/free"]["spec"]["volumeName"] = "pv-2"

    claim = manifest("PersistentVolumeClaim", "free", spec={"storageClassName": "fast"}, status={})
    assert told(edit, before=lambda o: o.update({"PersistentVolumeClaim/free": claim})) == []


def test_created_scaled_and_deleted() -> None:
    def edit(objects: Snapshot) -> None:
        objects["new"] = manifest("ConfigMap", "new", created=90, data={})
        objects["Deployment/web"]["spec"]["replicas"] = 3
        objects.pop("Service/cart")

    assert told(edit) == [
        (90, "ConfigMap/shop/new", "created", []),
        (100, "Deployment/shop/web", "scaled", ["replicas: 1 -> 3"]),
        (100, "Service/shop/cart", "deleted", []),
    ]


def test_closest_to_onset_and_symptom_comes_first(tmp_path: Path) -> None:
    store = Store(tmp_path / "store", create=True)

    def cart(objects: Snapshot) -> None:
        objects["ConfigMap/cart-config"]["data"]["timeout"] = "1s"

    def web(objects: Snapshot) -> None:
        objects["Deployment/web"]["spec"]["replicas"] = 2

    def other(objects: Snapshot) -> None:
        objects["IngressClass/nginx"]["spec"]["controller"] = "x"

    steps = [(0.0, shop()), (100.0, changed(shop(), cart)), (200.0, changed(shop(), cart, web))]
    steps.append((300.0, changed(shop(), cart, web, other)))
    store.append(rows(steps))
    span = {"trace_id": "1", "span_id": "1", "name": "x", "kind": 2, "start_ns": at(150), "duration_ns": 1}
    spans = [span | {"service": "cart", "span_id": "2", "pod": "cart-7d4b9c6f5d-x2x9z"}]
    store.append(Batch({"spans": table("spans", spans)}))

    def order(onset: float | None, symptom: str | None) -> list[str]:
        onset_ns = None if onset is None else at(onset)
        return [c.found.name for c, _ in changes(store, WINDOW, onset_ns, symptom)]

    assert order(None, None) == ["cart-config", "web", "nginx"]
    assert order(205, None) == ["web", "cart-config", "nginx"]
    assert order(205, "cart") == ["cart-config", "web", "nginx"]


JSON = st.recursive(
    st.integers() | st.text(alphabet="ab\n"), lambda x: st.lists(x) | st.dictionaries(st.text("ab"), x), max_leaves=9
)


@given(before=JSON, after=JSON)
def test_equal_values_alone_have_no_difference(before: Any, after: Any) -> None:
    found = list(_differences("", before, after))
    is_text = isinstance(before, str) and isinstance(after, str)
    if before == after:
        assert found == []
    elif not is_text and str(before) not in str(after):
        assert all(isinstance(d, Difference) for d in found)
