"""The same spans given to us, to a real OpenTelemetry Collector and to a real Jaeger.

Their edges are ours, call by call, or differ by a rule that docs/linking.md names under "What others count".
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from go_peers import Metrics, Sums, built, collector_metrics, jaeger_edges
from linking_scenarios import SCENARIOS, START_NS, Scenario

from benchmarks.generate import span_tables
from hypocenter.graph.dependency_graph import DependencyGraph
from hypocenter.graph.from_metrics import roll_up_metrics
from hypocenter.graph.link import Links, link
from hypocenter.graph.rollup import roll_up
from hypocenter.tracer.schema import POINTS, SERIES
from hypocenter.tracer.window import HOUR_NS, Window

# The first test may have to compile both, from nothing.
pytestmark = pytest.mark.timeout(2400)
SCENARIO = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
GENERATED_SERVICE = "service-"


@cache
def generated() -> pa.Table:
    (table,) = span_tables(20_000, services=20, seed=7, rate_per_s=200)
    return table


@cache
def generated_links() -> Links:
    return link(generated())


def all_spans() -> pa.Table:
    return pa.concat_tables([*(scenario.spans() for scenario in SCENARIOS), generated()])


@cache
def told_by_collector(go: str) -> Metrics:
    with tempfile.TemporaryDirectory() as folder:
        return collector_metrics(built("collector", go), Path(folder), all_spans())


@cache
def told_by_jaeger(go: str) -> Counter[str]:
    with tempfile.TemporaryDirectory() as folder:
        edges = jaeger_edges(built("jaeger", go), Path(folder), all_spans())
    return _counted(edges["client"] + ">" + edges["server"], edges["count"])


def _counted(words: pd.Series, count: pd.Series) -> Counter[str]:
    return +Counter(count.groupby(words).sum().to_dict())


def words(callers: pd.Series, callees: pd.Series, failed: pd.Series | bool = False) -> pd.Series:
    return callers + ">" + callees + np.where(failed, "!", "")


def of_generated(found: Counter[str]) -> Counter[str]:
    return Counter({word: count for word, count in found.items() if GENERATED_SERVICE in word})


@pytest.fixture
def collector(go: str) -> Counter[str]:
    edges = told_by_collector(go).edges
    words = edges["client"] + ">" + edges["server"]
    return _counted(words, edges["count"] - edges["failed"]) + _counted(words + "!", edges["failed"])


@pytest.fixture
def jaeger(go: str) -> Counter[str]:
    return told_by_jaeger(go)


@SCENARIO
def test_we_count(scenario: Scenario) -> None:
    calls = link(scenario.spans()).calls.to_pandas()
    ours = Counter(words(calls.caller, calls.callee, calls.client_error | calls.server_error))
    assert scenario.own(ours) == Counter(scenario.ours.split())


@SCENARIO
def test_collector_counts(scenario: Scenario, collector: Counter[str]) -> None:
    assert scenario.own(collector) == Counter(scenario.collector.split())


@SCENARIO
def test_jaeger_counts(scenario: Scenario, jaeger: Counter[str]) -> None:
    assert scenario.own(jaeger) == Counter(scenario.jaeger.split())


def calls_with_their_spans() -> pd.DataFrame:
    """Return our calls of the generated spans; ``db_name`` as its client span names it.

    A message's two calls know each other: a consumer's ``sender`` and a producer's ``reader`` are services,
    ``sent_badly`` and ``read_badly`` their failures; missing where the other side was not recorded.
    """
    calls = generated_links().calls.to_pandas()
    calls["failed"] = calls["client_error"] | calls["server_error"]
    spans = generated().select(["trace_id", "span_id", "parent_span_id", "db_name"]).to_pandas()
    calls = calls.merge(
        spans[["trace_id", "span_id", "db_name"]].rename(columns={"span_id": "client_span_id"}), how="left"
    ).merge(spans[["trace_id", "span_id", "parent_span_id"]].rename(columns={"span_id": "server_span_id"}), how="left")
    sent, read = calls[calls.matched == "producer"], calls[calls.matched == "consumer"]
    senders = sent[["trace_id", "client_span_id", "caller", "failed"]]
    senders = senders.set_axis(["trace_id", "parent_span_id", "sender", "sent_badly"], axis=1)
    readers = read[["trace_id", "parent_span_id", "callee", "failed"]]
    readers = readers.set_axis(["trace_id", "client_span_id", "reader", "read_badly"], axis=1)
    return calls.merge(senders, how="left").merge(readers, how="left")


def test_collector_counts_generated_calls_as_we_do_but_for_the_rules_named(collector: Counter[str]) -> None:
    calls = calls_with_their_spans()
    is_message = calls.matched.isin(["producer", "consumer"])
    rule = np.select(
        [
            calls.matched == "server-only",
            calls.matched == "missing-parent",
            (calls.matched == "client-only") & calls.db_name.notna(),
            (calls.matched == "consumer") & calls.sender.isna(),
            is_message & (calls.reader.notna() | calls.sender.notna()),
        ],
        ["outside", "parent not recorded", "database", "message from a producer not recorded", "message"],
        "as we do",
    )
    assert Counter(rule) == {
        "as we do": 5741,
        "outside": 1316,
        "parent not recorded": 108,
        "database": 3508,
        "message": 2 * 551,
        "message from a producer not recorded": 9,
    }
    theirs = pd.concat(
        [
            words(calls.caller, calls.callee, calls.failed)[rule == "as we do"],
            words("user", calls.callee, calls.failed)[rule == "outside"],
            words(calls.caller, calls.db_name, calls.failed)[rule == "database"],
            words(calls.caller, calls.reader, calls.failed | calls.read_badly.eq(True))[calls.reader.notna()],
        ]
    )
    assert of_generated(collector) == Counter(theirs)


@pytest.mark.parametrize("family", ["traces_service_graph", "traces.span.metrics", "traces"])
def test_what_the_collector_tells_of_our_spans_adds_no_call_to_them(family: str, go: str) -> None:
    window = Window(START_NS, START_NS + HOUR_NS)
    alone = DependencyGraph.of(roll_up(link(all_spans())), window)
    sums = [one for one in told_by_collector(go).sums if one[0].startswith(family)]
    both = alone.with_metrics(roll_up_metrics(*as_metrics(sums), window))
    ends = ["source", "target", "count", "errors"]
    assert both.edges[ends].sort_values(ends).values.tolist() == alone.edges[ends].sort_values(ends).values.tolist()
    assert both.edges["known_from"].value_counts()["traces and metrics"] > 50
    # Only an export of both sides that was repeated is more calls to others than to us.
    wins = both.edges[both.edges["rate_from"] == "metrics"]["source"].tolist()
    assert wins == ([] if "span" in family else ["export of both sides that was repeated/web"])
    assert set(both.matched.rules.values()) == (
        {"peer"} if "span" in family else {"message", "peer", "no-peer", "consumed"}
    )


def as_metrics(sums: Sums) -> tuple[pa.Table, pa.Table]:
    """Return series and points of counters that grew to their value."""
    series = [
        dict.fromkeys(SERIES.names)
        | {"series_id": f"{at}", "name": name, "kind": "sum", "temporality": "delta", "source": "collector"}
        | {"attributes": [(key, json.dumps(value)) for key, value in labels.items()]}
        for at, (name, labels, _) in enumerate(sums)
    ]
    points = [
        {"series_id": f"{at}", "time_ns": START_NS, "value": float(value), "histogram": None}
        for at, (_, _, value) in enumerate(sums)
    ]
    return pa.Table.from_pylist(series, SERIES), pa.Table.from_pylist(points, POINTS)


def test_collector_counts_the_spans_of_generated_operations_as_we_do(go: str) -> None:
    keys = ["service", "operation", "kind"]
    theirs = told_by_collector(go).operations
    theirs = theirs[theirs.service.str.startswith(GENERATED_SERVICE)]
    ours = roll_up(generated_links()).operations.to_pandas().groupby(keys, as_index=False)[["count", "errors"]].sum()
    assert theirs["count"].sum() == 20_000
    assert list(theirs.itertuples(index=False, name=None)) == list(ours.itertuples(index=False, name=None))


def test_jaeger_counts_generated_calls_as_we_do_but_for_the_rules_named(jaeger: Counter[str]) -> None:
    calls, visits = calls_with_their_spans(), generated_links().visits.to_pandas()
    rule = np.select(
        [
            calls.matched == "server-only",
            calls.matched == "missing-parent",
            calls.matched.isin(["client-only", "producer"]),
            (calls.matched == "consumer") & calls.sender.isna(),
            calls.matched == "consumer",
        ],
        ["outside", "parent not recorded", "virtual node", "message from a producer not recorded", "message"],
        "as we do",
    )
    within = visits[visits.parent_service == visits.service]
    assert {**Counter(rule), "in-process span": len(within)} == {
        "as we do": 5611,
        "outside": 1316,
        "parent not recorded": 108,
        "virtual node": 4189,
        "message": 551,
        "message from a producer not recorded": 9,
        "in-process span": 12_272,
    }
    theirs = pd.concat(
        [
            words(calls.caller, calls.callee)[rule == "as we do"],
            words(calls.sender, calls.callee)[rule == "message"],
            words(within.service, within.service),
        ]
    )
    assert of_generated(jaeger) == Counter(theirs)
