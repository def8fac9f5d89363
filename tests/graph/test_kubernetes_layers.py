"""Objects of a cluster take their places in layers, and services of the telemetry are found at them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kubernetes_objects import at, manifest, pod
from kubernetes_shop import WINDOW, Snapshot, changed, history, rows, shop
from small_incident import table

from hypocenter.graph.kubernetes import Cluster
from hypocenter.graph.kubernetes_layers import selects
from hypocenter.graph.kubernetes_paths import layer_frame, paths_of
from hypocenter.graph.kubernetes_services import ServiceJoin, Speakers
from hypocenter.tracer.batch import Batch
from hypocenter.tracer.kubernetes.versions import order, read_versions
from hypocenter.tracer.store import Store

CART = "Pod/shop/cart-7d4b9c6f5d-x2x9z"
WEB = "Pod/shop/web-7d4b9c6f5d-x2x9z"


def cluster(objects: Snapshot | None = None) -> Cluster:
    return history([(0, shop() if objects is None else objects)]).at(at(1))


def layer(name: str, found: Cluster | None = None) -> list[tuple[str, str, str]]:
    edges = (found or cluster()).edges
    return [(e.source, e.target, e.detail) for e in edges if e.layer == name]


def test_layers_of_a_small_shop() -> None:
    assert layer("ownership") == [
        ("Service/shop/cart", "EndpointSlice/shop/cart-abcde", ""),
        ("Service/shop/web", "EndpointSlice/shop/web-abcde", ""),
        ("ReplicaSet/shop/cart-7d4b9c6f5d", CART, ""),
        ("ReplicaSet/shop/web-7d4b9c6f5d", WEB, ""),
        ("Deployment/shop/cart", "ReplicaSet/shop/cart-7d4b9c6f5d", ""),
        ("Deployment/shop/web", "ReplicaSet/shop/web-7d4b9c6f5d", ""),
    ]
    assert layer("selection") == [
        ("NetworkPolicy/shop/cart", CART, ""),
        ("PodDisruptionBudget/shop/cart", CART, ""),
        ("Service/shop/cart", CART, ""),
        ("Service/shop/web", WEB, ""),
    ]
    assert layer("routing") == [
        ("Service/shop/cart", "EndpointSlice/shop/cart-abcde", ""),
        ("EndpointSlice/shop/cart-abcde", CART, "ready"),
        ("Service/shop/web", "EndpointSlice/shop/web-abcde", ""),
        ("EndpointSlice/shop/web-abcde", WEB, "ready"),
        ("Ingress/shop/shop", "Service/shop/web", "shop.test/ :80"),
    ]
    assert layer("mounts") == [
        ("Deployment/shop/cart", "ConfigMap/shop/cart-config", "volume config"),
        ("Deployment/shop/cart", "PersistentVolumeClaim/shop/cart-data", "volume data"),
        ("Deployment/shop/cart", "Secret/shop/cart-db", "environment"),
        ("PersistentVolumeClaim/shop/cart-data", "PersistentVolume/pv-1", "bound"),
        (CART, "ConfigMap/shop/cart-config", "volume config"),
        (CART, "PersistentVolumeClaim/shop/cart-data", "volume data"),
        (CART, "Secret/shop/cart-db", "environment"),
    ]
    assert layer("placement") == [(CART, "Node/node-2", ""), (WEB, "Node/node-1", "")]
    assert layer("references") == [
        ("HorizontalPodAutoscaler/shop/cart", "Deployment/shop/cart", "scales"),
        ("Ingress/shop/shop", "Secret/shop/shop-tls", "TLS certificate"),
        ("Ingress/shop/shop", "IngressClass/nginx", "class"),
        ("PersistentVolume/pv-1", "StorageClass/fast", "class"),
        ("PersistentVolumeClaim/shop/cart-data", "StorageClass/fast", "class"),
        ("ResourceQuota/shop/limits", "Namespace/shop", "limits"),
    ]


def test_gateway_api_routes_like_an_ingress() -> None:
    route = {"hostnames": ["api.test"], "parentRefs": [{"name": "edge"}]}
    route["rules"] = [{"matches": [{"path": {"value": "/v1"}}], "backendRefs": [{"name": "web", "port": 80}]}]  # type: ignore[list-item]
    objects = shop() | {
        "g": manifest("Gateway", "edge", spec={"gatewayClassName": "envoy", "listeners": []}),
        "r": manifest("HTTPRoute", "api", spec=route),
    }
    (path,) = paths_of(cluster(objects), "api.test")
    served = ("Service/shop/web", "EndpointSlice/shop/web-abcde", WEB, "Node/node-1")
    assert path.keys == ("Gateway/shop/edge", "HTTPRoute/shop/api", *served)


def test_snapshot_holds_what_was_there_at_its_time() -> None:
    after = changed(shop(), lambda o: o.pop("ConfigMap/cart-config"))
    found = history([(0, shop()), (100, after)])
    assert ["ConfigMap/shop/cart-config" in found.at(at(t)).by_key for t in (-1, 99, 100)] == [True, True, False]
    assert "ConfigMap/shop/cart-config" in found.whole.by_key


def test_path_from_a_host_to_the_node_names_what_is_broken() -> None:
    def break_it(objects: Snapshot) -> None:
        objects["Node/node-1"]["status"]["conditions"][0] |= {"status": "Unknown", "reason": "NodeStatusUnknown"}

    (path,) = paths_of(cluster(changed(shop(), break_it)), "shop.test")
    assert path.keys == ("Ingress/shop/shop", "Service/shop/web", "EndpointSlice/shop/web-abcde", WEB, "Node/node-1")
    assert path.broken == {"Node/node-1": "not ready: NodeStatusUnknown"}


def test_path_ends_at_a_service_that_is_missing() -> None:
    objects = changed(shop(), lambda o: o.pop("Service/web"))
    (path,) = paths_of(cluster(objects), "shop.test")
    assert str(path) == "Ingress/shop/shop -> Service/shop/web (does not exist)"


def test_frame_of_a_layer_tells_what_does_not_exist() -> None:
    frame = layer_frame(
        cluster(
            changed(shop(), lambda o: o.pop("ConfigMap/cart-config"), lambda o: o.update(m=manifest("ConfigMap", "m")))
        ),
        "mounts",
    )
    assert frame[~frame["exists"].fillna(True)]["target"].unique().tolist() == ["ConfigMap/shop/cart-config"]
    with pytest.raises(ValueError, match="known: ownership"):
        layer_frame(cluster(), "owners")


def test_kind_that_nobody_collected_is_unknown_rather_than_missing() -> None:
    objects = changed(shop(), lambda o: [o.pop(key) for key in list(o) if key.startswith("Secret/")])  # type: ignore[func-returns-value]
    frame = layer_frame(cluster(objects), "mounts")
    assert frame[frame["target"] == "Secret/shop/cart-db"]["exists"].isna().all()


def test_malformed_object_is_named_and_the_rest_stands() -> None:
    objects = shop() | {"bad": manifest("Ingress", "bad", spec={"rules": "no list", "tls": 3})}
    found = cluster(objects)
    assert found.malformed == ["Ingress/shop/bad"]
    assert len(found.edges) == len(cluster().edges)


def spans(*rows: dict[str, object]) -> Batch:
    filled = [
        {"trace_id": "1", "span_id": str(i), "name": "x", "kind": 2, "start_ns": at(0), "duration_ns": 1} | r
        for i, r in enumerate(rows)
    ]
    return Batch({"spans": table("spans", filled)})


def test_services_are_joined_by_uid_before_name_before_labels() -> None:
    def resource(uid: str) -> list[tuple[str, str]]:
        return [("k8s.pod.uid", f'"{uid}"'), ("k8s.namespace.name", '"shop"')]

    telemetry = spans(
        {"service": "basket", "pod": "renamed", "resource": resource("uid-pod-cart-7d4b9c6f5d-x2x9z")},
        {"service": "wrong", "pod": "cart-7d4b9c6f5d-x2x9z"},
        {"service": "front", "pod": "web-7d4b9c6f5d-x2x9z"},
        {"service": "ledger"},
    )
    objects = shop() | {"p": pod("ledger-0", app="ledger"), "q": pod("other-0", app="other")}
    join = ServiceJoin(cluster(objects), Speakers.of(telemetry))
    names = {join.cluster.objects[uid].name: service for uid, service in join.of_pod.items()}
    assert names == {
        "cart-7d4b9c6f5d-x2x9z": "basket",
        "web-7d4b9c6f5d-x2x9z": "front",
        "ledger-0": "ledger",
        "other-0": "other",
    }


@pytest.mark.parametrize(
    ("known", "service"),
    [
        ({"told", "instance", "name", "ledger", "ledger-0"}, "told"),
        ({"instance", "name", "ledger", "ledger-0"}, "instance"),
        ({"name", "ledger", "ledger-0"}, "name"),
        ({"ledger", "ledger-0"}, "ledger"),
        ({"ledger-0"}, "ledger-0"),
        (set(), "told"),
    ],
)
def test_annotation_names_a_service_before_labels_and_labels_before_owners(known: set[str], service: str) -> None:
    owner = manifest("StatefulSet", "ledger", spec={"serviceName": "ledger"})
    labels = {"app.kubernetes.io/name": "name", "app.kubernetes.io/instance": "instance"}
    one = pod("ledger-0", owner=owner)
    one["metadata"] |= {"labels": labels, "annotations": {"resource.opentelemetry.io/service.name": "told"}}
    join = ServiceJoin(cluster({"owner": owner, "pod": one}), Speakers({}, {}, frozenset(known)))
    assert list(join.of_pod.values()) == [service]


def test_name_that_another_namespace_speaks_as_is_not_taken() -> None:
    found = cluster({"mine": pod("cart-1"), "other": pod("cart-2", meta={"namespace": "staging"})})

    def joined(by_uid: dict[str, str]) -> list[str]:
        return sorted(ServiceJoin(found, Speakers(by_uid, {}, frozenset({"cart"}))).of_pod.values())

    assert joined({"uid-pod-cart-1": "cart"}) == ["cart", "staging/cart"]
    assert joined({}) == ["cart", "cart"], "nobody says whose name it is"


def test_replica_that_has_not_spoken_belongs_to_its_siblings_service() -> None:
    telemetry = spans({"service": "basket", "pod": "cart-7d4b9c6f5d-x2x9z"})
    owner = shop()["ReplicaSet/cart-7d4b9c6f5d"]
    objects = shop() | {"new": pod("cart-7d4b9c6f5d-nnnnn", owner=owner)}
    join = ServiceJoin(cluster(objects), Speakers.of(telemetry))
    assert join.of_pod["uid-pod-cart-7d4b9c6f5d-nnnnn"] == "basket"


def test_objects_bear_on_the_services_of_the_pods_that_depend_on_them() -> None:
    found = cluster()
    join = ServiceJoin(found, Speakers({}, {}, frozenset({"web", "cart"})))
    bearing = {key: join.services(each) for key, each in found.by_key.items()}
    cart = {key for key, services in bearing.items() if services == ["cart"]}
    assert cart == {
        *("Deployment/shop/cart", "ReplicaSet/shop/cart-7d4b9c6f5d", CART, "Service/shop/cart"),
        *("EndpointSlice/shop/cart-abcde", "ConfigMap/shop/cart-config", "Secret/shop/cart-db", "Node/node-2"),
        *("PersistentVolumeClaim/shop/cart-data", "PersistentVolume/pv-1", "StorageClass/fast"),
        *("HorizontalPodAutoscaler/shop/cart", "PodDisruptionBudget/shop/cart", "NetworkPolicy/shop/cart"),
    }
    assert bearing["Secret/shop/shop-tls"] == bearing["IngressClass/nginx"] == bearing["Node/node-1"] == ["web"]
    assert bearing["ResourceQuota/shop/limits"] == bearing["Namespace/shop"] == ["cart", "web"]


def test_pod_bears_on_every_service_that_its_containers_speak_as() -> None:
    """They share its address and its volumes: what hits the pod hits all of them."""
    of_pod = [("k8s.pod.uid", '"uid-pod-cart-7d4b9c6f5d-x2x9z"')]
    telemetry = spans({"service": "cart", "resource": of_pod}, {"service": "cart-proxy", "resource": of_pod})
    found = cluster()
    join = ServiceJoin(found, Speakers.of(telemetry))
    for key in (CART, "Node/node-2", "PersistentVolumeClaim/shop/cart-data", "Service/shop/cart"):
        assert join.services(found.by_key[key]) == ["cart", "cart-proxy"]


def test_workload_without_pods_is_known_by_its_template() -> None:
    objects = changed(shop(), lambda o: o.pop("Pod/cart-7d4b9c6f5d-x2x9z"))
    found = cluster(objects)
    join = ServiceJoin(found, Speakers({}, {}, frozenset({"web", "cart"})))
    assert join.services(found.by_key["Deployment/shop/cart"]) == ["cart"]


def test_store_gives_the_versions_that_reach_into_a_window(tmp_path: object) -> None:
    store = Store(f"{tmp_path}/store", create=True)
    after = changed(shop(), lambda o: o["ConfigMap/cart-config"]["data"].update(timeout="1s"))
    store.append(rows([(-3000, shop()), (100, after)]))
    found = read_versions(store, WINDOW).table
    kept = [(r["valid_from_ns"], r["valid_to_ns"]) for r in found.to_pylist() if r["name"] == "cart-config"]
    assert kept == [(at(-86_400), at(100)), (at(100), None)]
    assert found.num_rows == len(shop()) + 1
    assert order(found).table.num_rows == found.num_rows


LABELS = st.dictionaries(st.sampled_from("ab"), st.sampled_from("xy"))


@given(labels=LABELS, wanted=LABELS)
def test_selector_of_labels_is_a_subset_and_of_expressions_the_same(
    labels: dict[str, str], wanted: dict[str, str]
) -> None:
    expressions = [{"key": key, "operator": "In", "values": [value]} for key, value in wanted.items()]
    expected = wanted.items() <= labels.items()
    assert selects({"matchLabels": wanted}, labels) == selects({"matchExpressions": expressions}, labels) == expected
