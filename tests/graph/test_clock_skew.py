"""Clocks that disagree are found from calls, and undone beside what was recorded."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypocenter.graph.clock_skew import corrected, skews
from hypocenter.graph.link import link
from hypocenter.tracer.schema import SPANS

MS = 10**6
START = 1_700_000_000 * 10**9


def calls(skew_ns: int, n: int = 40, *, seed: int = 0, pod: str | None = "cart-1", stray: int = 0) -> pa.Table:
    """Return calls of web to cart, whose clock is ahead; the last ``stray`` ones are off by a minute."""
    random = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    for i in range(n):
        away, took, back = (int(x) for x in random.integers(MS, 5 * MS, 3))
        begin = START + i * 100 * MS
        off = skew_ns if i < n - stray else 60_000 * MS
        row = dict.fromkeys(SPANS.names) | {"trace_id": f"t{i}", "name": "get", "status": 0, "adjusted_milli": 1000}
        row |= {"source": "x"}
        client = {"span_id": "a", "kind": 3, "service": "web", "start_ns": begin, "duration_ns": away + took + back}
        server = {"span_id": "b", "parent_span_id": "a", "kind": 2, "service": "cart", "pod": pod}
        rows += [row | client, row | server | {"start_ns": begin + away + off, "duration_ns": took}]
    return link(pa.Table.from_pylist(rows, SPANS)).calls


@given(st.integers(-(10**13), 10**13), st.integers(0, 10))
@settings(max_examples=20, deadline=None)
def test_skew_lies_within_its_bounds_and_is_known_to_within_the_network(skew_ns: int, seed: int) -> None:
    pairs = skews(calls(skew_ns, seed=seed))
    (row,) = pairs[pairs["caller_clock"] == "web"].to_dict("records")
    assert row["low_ns"] <= skew_ns <= row["high_ns"] or abs(row["skew_ns"] - skew_ns) < 5 * MS
    assert abs(row["skew_ns"] - skew_ns) <= 5 * MS
    assert row["is_skewed"] or abs(skew_ns) <= 5 * MS
    assert (row["callee_clock"], row["calls"]) == ("cart-1", 40)


def test_clocks_that_agree_are_not_reported_though_some_calls_are_impossible() -> None:
    (row,) = skews(calls(0, n=60, stray=2)).to_dict("records")
    assert (row["impossible"], row["is_skewed"]) == (2, False)


def test_few_calls_prove_nothing() -> None:
    assert not skews(calls(10**12, n=4))["is_skewed"].any()


def test_both_values_are_kept_and_corrected_servers_lie_within_their_clients() -> None:
    recorded = calls(-7_000 * MS)
    found = corrected(recorded, skews(recorded))
    assert found.select(recorded.column_names).equals(recorded)
    start, server = (found[name].to_numpy() for name in ("client_start_ns", "corrected_server_start_ns"))
    end = start + found["client_duration_ns"].to_numpy()
    assert (recorded["server_start_ns"].to_numpy() < start).all()
    assert (start <= server).all()
    assert (server + found["server_duration_ns"].to_numpy() <= end).all()


def test_nothing_is_corrected_between_clocks_that_agree() -> None:
    recorded = calls(0)
    found = corrected(recorded, skews(recorded))
    assert found["skew_ns"].to_pylist() == [0] * 40
    assert found["corrected_server_start_ns"].equals(recorded["server_start_ns"])


@pytest.mark.parametrize("pod", ["cart-1", None])
def test_a_clock_is_a_pod_or_else_a_service(pod: str | None) -> None:
    assert skews(calls(10**12, pod=pod))["callee_clock"].tolist() == [pod or "cart"]


def test_no_calls_have_no_skew() -> None:
    assert skews(calls(0, n=1).slice(0, 0)).empty
