"""Who the metrics of waiting messages speak of."""

import pyarrow as pa

from hypocenter.analysis.queues import of_consumers
from hypocenter.tracer.schema import SERIES


def series(*named: tuple[str, str | None]) -> pa.Table:
    rows = [
        dict.fromkeys(SERIES.names)
        | {"series_id": str(i), "name": name, "kind": "gauge", "service": "broker", "pod": "broker-0", "source": "test"}
        | {"attributes": [("queue", f'"{queue}"')] if queue else None}
        for i, (name, queue) in enumerate(named)
    ]
    return pa.Table.from_pylist(rows, SERIES)


def calls(*pairs: tuple[str, str, str]) -> pa.Table:
    return pa.table(dict(zip(("caller", "caller_kind", "callee"), zip(*pairs, strict=True), strict=True)))


def owners(table: pa.Table) -> list[tuple[str, str | None]]:
    return list(zip(table["service"].to_pylist(), table["pod"].to_pylist(), strict=True))


def test_messages_that_wait_speak_of_the_one_service_that_takes_them() -> None:
    made = series(
        ("rabbitmq_queue_messages_ready", "orders"),
        ("rabbitmq_queue_messages_published_total", "orders"),
        ("rabbitmq_queue_messages_ready", "unknown"),
        ("rabbitmq_connections", None),
    )
    changed = of_consumers(made, calls(("orders", "messaging", "fulfilment"), ("web", "service", "cart")))
    broker = ("broker", "broker-0")
    assert owners(changed) == [("fulfilment", None), broker, broker, broker]
    assert changed.schema.names == made.schema.names
    assert changed.drop(["service", "pod"]).equals(made.drop(["service", "pod"]))


def test_queue_that_several_services_take_from_stays_with_its_broker() -> None:
    made = series(("kafka_consumergroup_lag", "orders"))
    assert of_consumers(made, calls(("orders", "messaging", "a"), ("orders", "messaging", "b"))).equals(made)
