"""Labels name a service, a pod, a node; what is ambiguous or unknown is said."""

from __future__ import annotations

import hooks
import pytest

from hypocenter.hook.mapping import Entity, Known, map_alert
from hypocenter.hook.payload import Alert

KNOWN = Known(
    frozenset({"payment", "checkout", "store-db"}), {"payment-7d4b9c6f5d-x2x9z": "payment"}, {"node-a": ["payment"]}
)


def labelled(**labels: str) -> Alert:
    return Alert("firing", labels, {}, hooks.ALERT_NS, None, "f", "")


@pytest.mark.parametrize(
    ("labels", "service"),
    [
        ({"service": "payment"}, "payment"),
        ({"job": "shop/payment"}, "payment"),
        ({"job": "node-exporter", "deployment": "checkout"}, "checkout"),
        ({"pod": "payment-7d4b9c6f5d-x2x9z"}, "payment"),
        ({"instance": "store-db.shop.svc.cluster.local:9187"}, None),
        ({"service": "store-db.shop.svc.cluster.local:5432"}, "store-db"),
        ({"app": "Payment"}, "payment"),
        ({"container": "store_db"}, "store-db"),
        ({"workload": "checkout-5f6b7c8d9e-abcde"}, "checkout"),
    ],
)
def test_the_service_is_found_under_the_usual_labels(labels: dict[str, str], service: str | None) -> None:
    assert map_alert(labelled(**labels), KNOWN).service == service


def test_a_known_name_wins_over_one_that_telemetry_never_saw() -> None:
    found = map_alert(labelled(service="kube-state-metrics", deployment="payment"), KNOWN)
    assert found == Entity("payment", None, None, ())


def test_two_known_names_are_an_ambiguity_that_is_reported() -> None:
    found = map_alert(labelled(service="checkout", pod="payment-7d4b9c6f5d-x2x9z"), KNOWN)
    doubt = "labels name checkout and payment; taken: checkout"
    assert found == Entity("checkout", "payment-7d4b9c6f5d-x2x9z", None, (doubt,))


def test_own_rules_come_first() -> None:
    alert = labelled(team_service="payment", service="checkout")
    assert map_alert(alert, KNOWN, [("team_service", "service")]).service == "payment"


def test_a_node_alone_and_an_unknown_name_are_said_to_be_that() -> None:
    node = map_alert(labelled(instance="node-a:9100"), KNOWN)
    assert node == Entity(None, None, "node-a", ("node node-a carries 1 services; none is named",))
    assert map_alert(labelled(service="mars"), KNOWN).doubts == ("no telemetry of mars",)
    assert map_alert(labelled(), KNOWN).doubts == ("no label names a service, a pod or a node",)


def test_while_nothing_is_known_the_first_label_counts() -> None:
    assert map_alert(labelled(job="shop/payment", pod="x-0"), Known()).service == "payment"


def test_a_namespace_tells_services_of_one_name_apart_and_its_lack_is_reported() -> None:
    known = Known(frozenset({"blue/payment", "green/payment", "checkout"}))
    found = [map_alert(labelled(service="payment", namespace=space), known) for space in ("green", "red")]
    doubt = "payment may be blue/payment or green/payment; no label tells which"
    assert found == [Entity("green/payment"), Entity(doubts=(doubt,))]
    assert map_alert(labelled(job="blue/payment"), known) == Entity("blue/payment")
    assert map_alert(labelled(service="checkout", namespace="green"), known) == Entity("checkout")


def test_an_environment_and_a_cluster_tell_deployments_of_one_service_apart() -> None:
    known = Known(frozenset({"payment@prod", "payment@staging", "shop/cart@prod@eu", "shop/cart@prod@us"}))
    labels = {"env": "staging"}, {"deployment_environment_name": "prod", "cluster": "eu"}, {}
    doubt = "payment may be payment@prod or payment@staging; no label tells which"
    assert [map_alert(labelled(service="payment", **some), known) for some in labels] == [
        Entity("payment@staging"),
        Entity("payment@prod"),
        Entity(doubts=(doubt,)),
    ]
    cart = labelled(service="cart", namespace="shop", environment="prod", cluster="us")
    assert map_alert(cart, known) == Entity("shop/cart@prod@us")
