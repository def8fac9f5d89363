"""Critical paths: equal to a slow, obvious walk, and to examples done by hand."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypocenter.graph.critical_path import on_path
from hypocenter.graph.dependency_graph import DependencyGraph
from hypocenter.graph.link import link
from hypocenter.graph.rollup import roll_up
from hypocenter.tracer.schema import SPANS
from hypocenter.tracer.window import SECOND_NS, Window


def paths(*spans: tuple[int, int, int]) -> tuple[list[int], list[int]]:
    """Return both times of spans given as parent, start, end."""
    parent, start, end = (np.array(column, np.int64) for column in zip(*spans, strict=True))
    alone, whole = on_path(parent, start, end - start, np.arange(len(spans)))
    return alone.tolist(), whole.tolist()


def slow(spans: list[tuple[int, int, int]]) -> tuple[list[int], list[int]]:
    alone, whole = [0] * len(spans), [0] * len(spans)

    def walk(at: int, begin: int, end: int) -> None:
        whole[at], cursor = end - begin, end
        inside = [(min(e, end), max(b, begin), child) for child, (above, b, e) in enumerate(spans) if above == at]
        for stop, go, child in sorted(inside, reverse=True):
            if go < stop <= cursor:
                alone[at] += cursor - stop
                walk(child, go, stop)
                cursor = go
        alone[at] += cursor - begin

    for root, (above, begin, end) in enumerate(spans):
        if above < 0:
            walk(root, begin, end)
    return alone, whole


@st.composite
def forests(draw: st.DrawFn) -> list[tuple[int, int, int]]:
    spans = []
    for at in range(draw(st.integers(1, 12))):
        start = draw(st.integers(0, 20))
        spans.append((draw(st.integers(-1, at - 1)), start, start + draw(st.integers(0, 12))))
    return spans


@given(forests())
def test_equals_the_slow_walk_and_adds_up_to_the_durations_of_the_roots(spans: list[tuple[int, int, int]]) -> None:
    found = paths(*spans)
    assert found == slow(spans)
    assert sum(found[0]) == sum(end - start for above, start, end in spans if above < 0)


@pytest.mark.parametrize(
    ("spans", "alone"),
    [
        ([(-1, 0, 100), (0, 10, 40), (0, 50, 90)], [30, 30, 40]),
        # Of parallel calls only the one that is waited for counts.
        ([(-1, 0, 100), (0, 10, 90), (0, 10, 60)], [20, 80, 0]),
        # Asynchronous work is cut to its parent's end; what begins after it is not waited for.
        ([(-1, 0, 100), (0, 50, 200), (0, 120, 150)], [50, 50, 0]),
        ([(-1, 0, 10), (2, 0, 5), (1, 0, 5)], [10, 0, 0]),
    ],
    ids=["sequence", "parallel", "asynchronous", "circle"],
)
def test_examples_by_hand(spans: list[tuple[int, int, int]], alone: list[int]) -> None:
    assert paths(*spans)[0] == alone


def span(name: str, parent: str | None, service: str, kind: int, start: int, end: int, **more: Any) -> dict[str, Any]:
    row = dict.fromkeys(SPANS.names) | {"trace_id": "t", "span_id": name, "parent_span_id": parent, "name": name}
    row |= {"kind": kind, "status": 0, "start_ns": start, "duration_ns": end - start, "service": service}
    return row | {"adjusted_milli": 1000, "source": "x"} | more


def test_shares_of_operations_edges_and_instances() -> None:
    spans = [
        span("home", None, "web", 2, 0, 1000),
        span("get", "home", "web", 3, 100, 700),
        span("cart", "get", "cart", 2, 150, 650, pod="cart-1"),
        span("query", "cart", "cart", 3, 200, 600, pod="cart-1", peer_address="db", db_system="postgresql"),
        span("ads", "home", "web", 3, 100, 300, peer_service="ads"),
    ]
    rollups = roll_up(link(pa.Table.from_pylist(spans, SPANS)))
    graph = DependencyGraph.of(rollups, Window(0, 10 * SECOND_NS))
    assert graph.critical_s == 1e-6
    operations = graph.operations
    assert list(zip(operations["operation"], operations["critical_share"].round(9), strict=True)) == [
        ("query", 0.4), ("home", 0.4), ("cart", 0.1), ("get", 0.1), ("ads", 0),
    ]  # fmt: skip
    # The caller waits for the network as well.
    shares = graph.edges.set_index(["source", "target"])["critical_share"].round(9).to_dict()
    assert shares == {("external", "web"): 1, ("web", "cart"): 0.6, ("cart", "db"): 0.4, ("web", "ads"): 0}
    assert graph.instances.set_index("service")["critical_share"].to_dict() == {"cart": 0.5, "web": 0.5}
