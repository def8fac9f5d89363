"""Prometheus text and OpenMetrics: what each line becomes."""

import io
import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypocenter.tracer.batch import Batch, concat
from hypocenter.tracer.detect import detect
from hypocenter.tracer.readers import prometheus_text
from hypocenter.tracer.source import Source, decompressed

T = 1_700_000_000 * 10**9


def read(text: str, time_ns: int | None = None) -> Batch:
    source = Source("m.txt", decompressed(io.BytesIO(text.encode())), time_ns)
    return concat(prometheus_text.read(source))


def points(batch: Batch) -> list[tuple[Any, ...]]:
    """Return name, time less T, value and histogram of each point."""
    names = dict(zip(*(batch.table("series")[c].to_pylist() for c in ("series_id", "name")), strict=True))
    return [
        (names[p["series_id"]], p["time_ns"] - T, p["value"], p["histogram"] and json.loads(p["histogram"]))
        for p in batch.table("points").to_pylist()
    ]


def series(batch: Batch, columns: Sequence[str]) -> list[tuple[Any, ...]]:
    return [tuple(row[c] for c in columns) for row in batch.table("series").to_pylist()]


def test_counters_gauges_and_untyped_of_scrapes_in_a_row() -> None:
    scrape = (
        "# HELP http_requests Requests.\n# TYPE http_requests counter\n# UNIT http_requests requests\n"
        'http_requests_total{code="200"} 5 1700000000.25\nhttp_requests_created{code="200"} 1.6e9 1700000000.25\n'
        "# TYPE heap gauge\nheap +Inf 1700000000000\nodd NaN 1.70000000025e+09\n# EOF\n"
    )
    batch = read(scrape + scrape.replace("17000", "17001").replace("heap +Inf", "heap -2e3"))
    assert points(batch) == [
        ("http_requests_total", 250_000_000, 5.0, {"start_ns": 1_600_000_000 * 10**9}),
        ("heap", 0, float("inf"), None),
        ("odd", 250_000_000, None, None),
        ("http_requests_total", 100_000 * 10**9 + 250_000_000, 5.0, {"start_ns": 1_600_000_000 * 10**9}),
        ("heap", 100_000 * 10**9, -2000.0, None),
        ("odd", 250_000_000, None, None),
    ]
    assert series(batch, ["name", "kind", "unit", "temporality", "monotonic"]) == [
        ("http_requests_total", "sum", "requests", "cumulative", True),
        ("heap", "gauge", None, None, None),
        ("odd", "unknown", None, None, None),
    ]
    assert (batch.tally.dropped, batch.tally.repaired) == ({}, {"creation time joined to its counter": 2})


def test_creation_times_of_classic_text_are_no_metric_of_their_own() -> None:
    text = (
        "# TYPE hits_total counter\nhits_total 5 1700000000000\n"
        '# TYPE hits_created gauge\nhits_created 1.6e9 1700000000000\nhits_created{a="b"} 1.6e9 1700000000000\n'
    )
    batch = read(text)
    assert points(batch) == [("hits_total", 0, 5.0, {"start_ns": 1_600_000_000 * 10**9})]
    assert batch.tally.dropped == {"creation time without its counter": 1}


NATIVE = (
    "{count:24,sum:100,schema:0,zero_threshold:0.001,zero_count:4,positive_spans:[0:2,1:2],positive_%s,"
    "negative_spans:[0:1],negative_deltas:[2]}"
)


@pytest.mark.parametrize("counts", ["deltas:[2,1,-1,2]", "buckets:[2,3,2,4]"])
@pytest.mark.parametrize("head", ["# TYPE rt histogram\n", "# TYPE other gauge\n"], ids=["typed", "untyped"])
def test_native_histogram_is_one_exponential_point(counts: str, head: str) -> None:
    exemplar = ' # {trace_id="abc"} 0.05' if head.startswith("# TYPE rt") else ""
    batch = read(f'{head}rt{{path="/"}} {NATIVE % counts} 1700000000{exemplar}\n')
    histogram = {
        "count": 24, "sum": 100.0, "scale": 0, "zero_count": 4, "zero_threshold": 0.001,
        "positive": {"offset": -1, "bucket_counts": [2, 3, 0, 2, 4]}, "negative": {"offset": -1, "bucket_counts": [2]},
    }  # fmt: skip
    assert points(batch) == [("rt", 0, None, histogram)]
    assert series(batch, ["kind", "temporality", "attributes"]) == [
        ("exponential_histogram", "cumulative", [("path", '"/"')])
    ]


def test_native_histogram_of_custom_bounds_is_explicit() -> None:
    batch = read(
        "rt {count:5,sum:3,schema:-53,custom_values:[0.1,1,10],positive_spans:[1:2],positive_deltas:[2,1]} 1.7e9\n"
    )
    expected = {"count": 5, "sum": 3.0, "explicit_bounds": [0.1, 1.0, 10.0], "bucket_counts": [0, 2, 3, 0]}
    assert points(batch) == [("rt", 0, None, expected)]


@pytest.mark.parametrize(
    "value",
    [
        "{count:1}", "{}", "{count:1,sum:1,schema:9}", "{count:-1,sum:1,schema:0}",
        "{count:1,sum:1,schema:0,positive_spans:[0:1,2000000000:1],positive_deltas:[1,1]}",
        "{count:1,sum:1,schema:0,positive_spans:[0:2],positive_deltas:[1]}",
    ],
)  # fmt: skip
def test_malformed_native_histogram_is_dropped_and_counted(value: str) -> None:
    batch = read(f"# TYPE rt histogram\nrt {value} 1.7e9\n# TYPE up gauge\nup 1 1.7e9\n")
    assert points(batch) == [("up", 0, 1.0, None)]
    assert sum(batch.tally.dropped.values()) == 1


HISTOGRAM = """# TYPE rt histogram
rt_bucket{path="/",le="0.1"} 2 %s # {trace_id="abc",user="u"} 0.05 1700000000.5
rt_bucket{path="/",le="1"} 3 %s
rt_bucket{path="/",le="+Inf"} 4 %s
rt_sum{path="/"} 7.5 %s
rt_count{path="/"} 4 %s
rt_created{path="/"} 1600000000 %s
"""
RT = {
    "count": 4,
    "sum": 7.5,
    "start_ns": 1_600_000_000 * 10**9,
    "explicit_bounds": [0.1, 1.0],
    "bucket_counts": [2, 1, 1],
    "exemplars": [{"time_ns": T + 500_000_000, "value": 0.05, "trace_id": "abc", "attributes": {"user": "u"}}],
}


def test_classic_histogram_is_one_point_a_time() -> None:
    batch = read(HISTOGRAM.replace("%s", "1700000000"))
    assert points(batch) == [("rt", 0, None, RT)]
    assert series(batch, ["kind", "temporality", "attributes"]) == [("histogram", "cumulative", [("path", '"/"')])]


def test_histogram_is_whole_when_its_series_are_listed_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [line % time for line in HISTOGRAM.splitlines() if "%s" in line for time in (1700000000, 1700000015)]
    whole = read("\n".join(["# TYPE rt histogram", *lines, "up 1 1700000000"]))
    assert points(whole)[1:] == [("rt", 0, None, RT), ("rt", 15 * 10**9, None, RT)]
    monkeypatch.setattr(prometheus_text, "_CHUNK_BYTES", 100)
    cut = read("\n".join(["# TYPE rt histogram", *lines, "up 1 1700000000"]))
    assert sorted(points(cut), key=str) == sorted(points(whole), key=str)


def test_histogram_without_a_type_is_known_by_its_buckets() -> None:
    batch = read("\n".join(line for line in HISTOGRAM.splitlines() if "TYPE" not in line).replace("%s", "1700000000"))
    assert points(batch) == [("rt", 0, None, RT)]


def test_falling_buckets_are_dropped() -> None:
    batch = read(HISTOGRAM.replace("%s", "1700000000").replace('"1"} 3', '"1"} 1'))
    assert (points(batch), batch.tally.dropped) == ([], {"histogram without whole buckets": 1})


def test_summary_keeps_its_quantiles() -> None:
    batch = read(
        '# TYPE gc summary\ngc{quantile="0.5"} 2 1700000000\ngc{quantile="1"} NaN 1700000000\ngc_sum 9 1700000000\n'
        "gc_count 3 1700000000\n"
    )
    quantiles = [{"quantile": 0.5, "value": 2.0}, {"quantile": 1.0, "value": {"doubleValue": "NaN"}}]
    assert points(batch) == [("gc", 0, None, {"count": 3, "sum": 9.0, "quantiles": quantiles})]


def test_exemplar_of_a_counter_stays_with_its_point() -> None:
    batch = read('# TYPE a counter\na_total 1 1700000000 # {span_id="s"} 1\na_total 2 1700000001 # {oops} 1\n')
    assert points(batch) == [
        ("a_total", 0, 1.0, {"exemplars": [{"value": 1.0, "span_id": "s"}]}),
        ("a_total", 10**9, 2.0, None),
    ]
    assert batch.tally.dropped == {"malformed exemplar": 1}


def test_what_is_no_sample_or_has_no_time_is_dropped_at_its_line() -> None:
    batch = read('up 1\n\nup{a="b} 1 1700000000\nup x 1700000000\nup 1 17000x\nup 2 1700000000\n')
    assert points(batch) == [("up", 0, 2.0, None)]
    assert batch.tally.dropped == {
        "sample without a timestamp": 1,
        "line that is no sample": 2,
        "sample with a malformed timestamp": 1,
    }
    assert batch.tally.problems == [
        "m.txt: line 3: line that is no sample",
        "m.txt: line 1: sample without a timestamp",
        "m.txt: line 5: sample with a malformed timestamp",
    ]
    assert points(read("up 1\nup 2 1700000000\n", time_ns=T + 5)) == [("up", 5, 1.0, None), ("up", 0, 2.0, None)]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ('job="shop/cart",pod="x-1",node="n"', ("cart", "x-1", "n", None)),
        ('job="kubelet",pod="cart-579f59597d-wc2lz"', ("cart", "cart-579f59597d-wc2lz", None, None)),
        ('job="cart",instance="cart:80"', ("cart", None, None, None)),
        ('service_name="a",job="b/c"', ("a", None, None, None)),
        ('job="kube-state-metrics",deployment="web"', ("web", None, None, None)),
        ('instance="h:1"', (None, None, None, None)),
    ],
)
def test_labels_name_the_owner(labels: str, expected: tuple[str | None, ...]) -> None:
    assert series(read(f"up{{{labels}}} 1 1700000000\n"), ["service", "pod", "node", "peer"]) == [expected]


def test_edge_metrics_name_caller_and_callee() -> None:
    batch = read(
        'traces_service_graph_request_total{client="a",server="b"} 1 1700000000\n'
        'istio_requests_total{source_workload="b",destination_workload="c"} 1 1700000000\n'
    )
    assert series(batch, ["service", "peer"]) == [("a", "b"), ("b", "c")]


LABELS = st.dictionaries(
    st.from_regex("[a-z_]{1,5}", fullmatch=True).filter(lambda n: n not in ("le", "quantile")),
    st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), max_size=8),
    max_size=3,
)


@given(st.lists(st.tuples(LABELS, st.floats(allow_nan=False), st.integers(10**12, 9 * 10**12)), max_size=8))
def test_every_written_sample_is_read(samples: list[tuple[dict[str, str], float, int]]) -> None:
    def escaped(text: str) -> str:
        return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")

    lines = [
        "m{" + ",".join(f'{k}="{escaped(v)}"' for k, v in labels.items()) + f"}} {value!r} {ms}\n"
        for labels, value, ms in samples
    ]
    batch = read("".join(lines))
    by_id = {row["series_id"]: dict(row["attributes"]) for row in batch.table("series").to_pylist()}
    found = [(by_id[p["series_id"]], p["value"], p["time_ns"]) for p in batch.table("points").to_pylist()]
    assert found == [
        ({k: json.dumps(v, ensure_ascii=False) for k, v in lb.items()}, v, ms * 10**6) for lb, v, ms in samples
    ]
    assert batch.tally.dropped == {}


def test_format_is_told_by_content() -> None:
    for text in ("# TYPE a gauge\na 1\n", 'a{b="c"} 1 1700000000\n', "# just a remark\nup 1\n"):
        assert detect(Source("x", decompressed(io.BytesIO(text.encode())))).NAME == "prometheus-text"
    for text in ("hello world\n", '{"a": 1}\n', "a,b\n1,2\n"):
        assert not prometheus_text.matches(text.encode(), "x")
