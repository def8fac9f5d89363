"""Dumps of Prometheus' query API."""

import io
import json
from typing import Any

from hypocenter.tracer.batch import Batch, concat
from hypocenter.tracer.readers import prometheus_json
from hypocenter.tracer.source import Source, decompressed

T = 1_700_000_000


def read(*answers: object) -> Batch:
    content = "\n".join(json.dumps(answer) for answer in answers).encode()
    return concat(prometheus_json.read(Source("q.json", decompressed(io.BytesIO(content)))))


def answer(kind: str, *results: object) -> dict[str, object]:
    return {"status": "success", "data": {"resultType": kind, "result": results[0] if kind == "scalar" else results}}


def points(batch: Batch) -> list[tuple[Any, ...]]:
    names = dict(zip(*(batch.table("series")[c].to_pylist() for c in ("series_id", "name")), strict=True))
    return [
        (names[p["series_id"]], p["time_ns"] / 1e9 - T, p["value"], p["histogram"] and json.loads(p["histogram"]))
        for p in batch.table("points").to_pylist()
    ]


def test_matrix_vector_and_scalar_of_several_answers() -> None:
    metric = {"__name__": "a_total", "job": "shop/cart"}
    batch = read(
        answer("matrix", {"metric": metric, "values": [[T, "1"], [T + 15.5, "NaN"]]}),
        answer("vector", {"metric": {"pod": "x"}, "value": [T, "+Inf"]}),
        answer("scalar", [T, "7"]),
    )
    assert points(batch) == [
        ("a_total", 0, 1.0, None),
        ("a_total", 15.5, None, None),
        ("query_result", 0, float("inf"), None),
        ("query_result", 0, 7.0, None),
    ]
    assert batch.table("series").select(["kind", "service", "pod"]).to_pylist() == [
        {"kind": "sum", "service": "cart", "pod": None},
        {"kind": "unknown", "service": "x", "pod": "x"},
        {"kind": "unknown", "service": None, "pod": None},
    ]


def test_classic_buckets_become_one_histogram() -> None:
    results = [
        {"metric": {"__name__": f"rt{name}", **labels}, "values": [[T, value]]}
        for name, labels, value in (
            ("_bucket", {"le": "1"}, "2"),
            ("_bucket", {"le": "+Inf"}, "3"),
            ("_count", {}, "3"),
            ("_sum", {}, "4.5"),
        )
    ]
    expected = {"count": 3, "sum": 4.5, "explicit_bounds": [1.0], "bucket_counts": [2, 1]}
    assert points(read(answer("matrix", *results))) == [("rt", 0, None, expected)]


def test_native_histogram_keeps_its_gaps() -> None:
    histogram = {
        "count": "6",
        "sum": "-1",
        "buckets": [[1, "-2", "-1", "1"], [3, "-0.5", "0.5", "2"], [0, "0.5", "1", "3"]],
    }
    expected = {
        "count": 6,
        "sum": -1.0,
        "explicit_bounds": [-2.0, -1.0, -0.5, 0.5, 1.0],
        "bucket_counts": [0, 1, 0, 2, 3, 0],
    }
    batch = read(answer("matrix", {"metric": {"__name__": "rt"}, "histograms": [[T, histogram]]}))
    assert points(batch) == [("rt", 0, None, expected)]
    assert batch.table("series")["kind"].to_pylist() == ["histogram"]


def test_malformed_results_are_dropped_and_the_rest_is_read() -> None:
    good = {"metric": {"__name__": "up"}, "values": [[T, "1"]]}
    batch = read(answer("matrix", {"metric": {"__name__": "up"}, "values": [["x", "1"]]}, good, 5))
    assert points(batch) == [("up", 0, 1.0, None)]
    assert batch.tally.dropped == {"malformed result": 1, "item that is not JSON": 1}


def test_refused_query_has_nothing_to_read() -> None:
    assert points(read({"status": "error", "resultType": "", "result": ""})) == []
