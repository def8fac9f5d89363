"""Services that lose the trace context are named; names without bound as well."""

from pathlib import Path
from typing import Any

import pyarrow as pa

from hypocenter.graph.context_breaks import context_breaks, explosions
from hypocenter.graph.dependency_graph import DependencyGraph
from hypocenter.tracer.batch import Batch, table_of
from hypocenter.tracer.schema import SERIES, SPANS
from hypocenter.tracer.store import Store

T0 = 1_700_000_000 * 10**9


def span(trace: str, span_id: str, parent: str | None, service: str, kind: int, **more: Any) -> dict[str, Any]:
    row = dict.fromkeys(SPANS.names) | {"trace_id": trace, "span_id": span_id, "parent_span_id": parent, "name": "get"}
    row |= {"service": service, "kind": kind, "status": 0, "start_ns": T0, "duration_ns": 1000, "adjusted_milli": 1000}
    return row | {"source": "x"} | more


def store_of(folder: Path, spans: list[dict[str, Any]], series: pa.Table | None = None) -> Store:
    store = Store(folder / "store", create=True)
    more = {} if series is None else {"series": series}
    store.append(Batch({"spans": pa.Table.from_pylist(spans, SPANS), **more}))
    return store


def test_context_lost_inside_of_a_service_is_told_from_its_own_jobs(tmp_path: Path) -> None:
    spans = []
    for i in range(100):
        spans += [span(f"a{i}", "in", None, "web", 2), span(f"b{i}", "out", None, "web", 3, peer_service="cart")]
        spans += [span(f"c{i}", "in", None, "api", 2), span(f"c{i}", "out", "in", "api", 3, peer_service="cart")]
        spans += [span(f"d{i}", "out", None, "cron", 3, peer_service="cart")]
    spans += [span(f"e{i}", "out", None, "api", 3, peer_service="cart") for i in range(4)]
    store = store_of(tmp_path, spans)
    (found,) = context_breaks(store, DependencyGraph.read(store))
    assert found.title.startswith("calls that begin a new trace inside of a service")
    assert found.subjects == (("web", 100),)


def test_services_that_lose_the_context_are_named_as_their_nodes_also_without_a_name(tmp_path: Path) -> None:
    spans = []
    for i in range(20):
        for place, more in enumerate(({}, {"service": "pay", "service_namespace": "shop", "environment": "prod"})):
            spans += [span(f"a{place}{i}", "in", None, "", 2) | {"service": None} | more]
            spans += [span(f"b{place}{i}", "out", None, "", 3) | {"service": None} | more]
    spans += [span("c", "in", None, "pay", 2, service_namespace="bank")]
    spans += [span("d", "in", None, "pay", 2, service_namespace="shop", environment="test")]
    store = store_of(tmp_path, spans)
    graph = DependencyGraph.read(store)
    (found,) = context_breaks(store, graph)
    assert found.subjects == (("shop/pay@prod", 20), ("unknown_service", 20))
    assert {name for name, _ in found.subjects} < set(graph.nodes["id"])


def test_context_lost_between_a_caller_and_a_callee_that_it_names(tmp_path: Path) -> None:
    spans = []
    for i in range(30):
        spans += [span(f"a{i}", "in", None, "web", 2)]
        spans += [span(f"a{i}", "out", "in", "web", 3, peer_address="cart.shop.svc:8080")]
        spans += [span(f"a{i}", "far", "in", "web", 3, peer_address="api.stripe.com")]
        spans += [span(f"b{i}", "in", None, "cart", 2)]
    store = store_of(tmp_path, spans)
    (found,) = context_breaks(store, DependencyGraph.read(store))
    assert found.subjects == (("web -> cart", 30),)
    assert "OTEL_PROPAGATORS" in found.remedy


def test_callee_of_a_name_that_several_deployments_have_is_the_one_of_the_namespace_that_the_host_names(
    tmp_path: Path,
) -> None:
    spans = []
    for namespace in ("shop", "bank"):
        spans += [span(f"b{namespace}", "in", None, "cart", 2, service_namespace=namespace)]
    for host, calls in (("cart.shop.svc", 3), ("cart:8080", 2)):
        spans += [span(f"a{host}{i}", "in", None, "web", 2) for i in range(calls)]
        spans += [span(f"a{host}{i}", "out", "in", "web", 3, peer_address=host) for i in range(calls)]
    store = store_of(tmp_path, spans)
    (found,) = context_breaks(store, DependencyGraph.read(store))
    assert found.subjects == (("web -> shop/cart", 3), ("web -> cart", 2))


def test_whole_traces_break_nothing(tmp_path: Path) -> None:
    spans = []
    for i in range(30):
        spans += [span(f"a{i}", "in", None, "web", 2), span(f"a{i}", "out", "in", "web", 3, peer_service="cart")]
        spans += [span(f"a{i}", "in2", "out", "cart", 2)]
    store = store_of(tmp_path, spans)
    graph = DependencyGraph.read(store)
    assert (context_breaks(store, graph), explosions(store, graph)) == ([], [])


def test_series_and_peers_without_bound_are_named_with_the_label(tmp_path: Path) -> None:
    n = 1200
    labels = [[("path", f'"/user/{i}"'), ("code", '"200"')] for i in range(n)]
    ids = [f"{i}" for i in range(n)]
    series = table_of(SERIES, {"series_id": ids, "name": "hits", "kind": "sum", "attributes": labels, "source": "x"}, n)
    spans = [span(f"a{i}", "out", None, "web", 3, peer_address=f"10.0.0.{i}") for i in range(101)]
    store = store_of(tmp_path, spans, series)
    told = {finding.title: finding.subjects for finding in explosions(store, DependencyGraph.read(store))}
    assert list(told.values()) == [
        (("hits by path (1,200 values, such as /user/0)", 1200),),
        (("web", 101),),
    ]
