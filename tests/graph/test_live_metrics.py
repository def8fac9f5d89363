"""Rollups as one live scrape in Tempo's names: valid OpenMetrics that our own reader reads."""

import io
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from hypocenter.graph.link import link
from hypocenter.graph.live import LiveMetrics
from hypocenter.graph.metrics_text import live_metrics
from hypocenter.graph.rollup import empty, merge, roll_up
from hypocenter.tracer.batch import Batch, concat
from hypocenter.tracer.detect import decode
from hypocenter.tracer.schema import SPANS
from hypocenter.tracer.source import Source, decompressed
from hypocenter.tracer.store import Store

MS = 10**6


def spans(trace: str, *, failed: bool = False) -> list[dict[str, Any]]:
    row = dict.fromkeys(SPANS.names) | {"trace_id": trace, "status": 2 if failed else 0, "adjusted_milli": 1000}
    row |= {"source": "x", "start_ns": 1_700_000_000 * 10**9}
    client = row | {"span_id": "a", "kind": 3, "service": "web", "name": 'GET "/"', "duration_ns": 40 * MS}
    return [client, row | {"span_id": "b", "parent_span_id": "a", "kind": 2, "service": "cart", "name": "get",
                           "duration_ns": 30 * MS}]  # fmt: skip


def live(*traces: list[dict[str, Any]]) -> str:
    return live_metrics(merge(roll_up(link(pa.Table.from_pylist(trace, SPANS))) for trace in traces))


def test_scrape_has_service_graph_and_span_metrics_without_times() -> None:
    lines = live(spans("t"), spans("u", failed=True), spans("v")).splitlines()
    ends = 'client="web",server="cart",connection_type=""'
    get = 'service="cart",span_name="get",span_kind="SPAN_KIND_SERVER"'
    for expected in (
        f"traces_service_graph_request_total{{{ends}}} 3",
        f"traces_service_graph_request_failed_total{{{ends}}} 1",
        f'traces_service_graph_request_server_seconds_bucket{{{ends},le="+Inf"}} 3',
        f'traces_service_graph_request_client_seconds_bucket{{{ends},le="0.033554432"}} 0',
        f'traces_spanmetrics_calls_total{{{get},status_code="STATUS_CODE_UNSET"}} 2',
        f'traces_spanmetrics_calls_total{{{get},status_code="STATUS_CODE_ERROR"}} 1',
        f"traces_spanmetrics_latency_count{{{get}}} 3",
        "# EOF",
    ):
        assert expected in lines
    assert lines[-1] == "# EOF"


def test_our_own_reader_reads_all_of_it() -> None:
    text = live(spans("t"), spans("u", failed=True))
    source = Source("m", decompressed(io.BytesIO(text.encode())), 1_700_000_000 * 10**9)
    batch = concat(decode(source))
    assert batch.tally.dropped == {}
    names = set(batch.table("series")["name"].to_pylist())
    assert {"traces_service_graph_request_total", "traces_spanmetrics_latency"} <= names
    latency = [p for p in batch.table("points")["histogram"].to_pylist() if p]
    assert len(latency) == 4


def test_counters_only_grow_as_rollups_are_added() -> None:
    few, many = live(spans("t")).splitlines(), live(spans("t"), spans("u", failed=True)).splitlines()
    before = {name: float(value) for name, _, value in (line.rpartition(" ") for line in few) if name[0] != "#"}
    after = {name: float(value) for name, _, value in (line.rpartition(" ") for line in many) if name[0] != "#"}
    assert all(after[name] >= value for name, value in before.items())


def test_nothing_is_an_empty_scrape() -> None:
    assert [line for line in live_metrics(empty()).splitlines() if not line.startswith("#")] == []


def test_prometheus_reads_it() -> None:
    parser = pytest.importorskip("prometheus_client.openmetrics.parser")
    families = {family.name for family in parser.text_string_to_metric_families(live(spans("t")))}
    assert {"traces_service_graph_request", "traces_spanmetrics_calls", "traces_spanmetrics_latency"} <= families


def test_sums_grow_by_what_became_a_minute_old_each_span_once(tmp_path: Path) -> None:
    start = 1_700_000_000 * 10**9
    now, store = [start], Store(tmp_path / "store", create=True)
    live = LiveMetrics(lambda: now[0])
    calls = 'traces_service_graph_request_total{client="web",server="cart",connection_type=""}'
    found = []
    for number in range(4):
        rows = [row | {"start_ns": start + number * 30 * 10**9} for row in spans(f"{number:032x}")]
        rows = [row | {"span_id": row["span_id"] * 16, "parent_span_id": row["parent_span_id"] and "a" * 16}
                for row in rows]  # fmt: skip
        store.append(Batch({"spans": pa.Table.from_pylist(rows, SPANS)}))
        now[0] += 30 * 10**9
        live.update(store)
        found.append([line.rpartition(" ")[2] for line in live.text().splitlines() if line.startswith(calls)])
    assert found == [[], [], ["1"], ["2"]]
    now[0] += 3600 * 10**9
    live.update(store)
    live.update(store)
    assert f"{calls} 4" in live.text().splitlines()
