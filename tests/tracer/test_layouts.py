"""The layouts of public recordings, read from files written here in their form."""

import gzip
import json
from pathlib import Path

import pytest

from hypocenter.errors import DecodeError, SourceError
from hypocenter.tracer.layouts import read_case_files, read_graph


def test_nezha_spans_take_the_deployment_as_service_and_lose_no_row(tmp_path: Path) -> None:
    file = tmp_path / "10_00_trace.csv.gz"
    header = "TraceID,SpanID,ParentID,PodName,OperationName,StartTimeUnixNano,EndTimeUnixNano,Duration"
    rows = [
        "AB,01,root,cart-579f59597d-wc2lz,get,100,350,0",
        "AB,02,01,cart-579f59597d-wc2lz,sql,400,300,0",
        ",03,01,x-a-b,y,1,2,0",
    ]
    file.write_bytes(gzip.compress("\n".join([header, *rows]).encode()))
    batch = read_case_files({"traces": [file]}, "nezha")
    columns = ["trace_id", "span_id", "parent_span_id", "service", "pod", "name", "start_ns", "duration_ns"]
    assert batch.table("spans").select(columns).to_pylist() == [
        dict(zip(columns, ("ab", "01", None, "cart", "cart-579f59597d-wc2lz", "get", 100, 250), strict=True)),
        dict(zip(columns, ("ab", "02", "01", "cart", "cart-579f59597d-wc2lz", "sql", 400, 0), strict=True)),
    ]
    assert (batch.tally.dropped, batch.tally.repaired) == ({"span without id, pod or time": 1}, {"end before start": 1})
    assert batch.tally.problems == [f"{file}: row 4: span without id, pod or time"]


def test_nezha_logs_keep_records_with_line_breaks_and_count_broken_ones(tmp_path: Path) -> None:
    file = tmp_path / "10_00_log.csv.gz"
    log = json.dumps({"log": "ERROR a\nb\n"}).replace('"', '""')
    header = "Timestamp,TimeUnixNano,Node,PodName,Container,TraceID,SpanID,Log"
    text = f'{header}\nx,5,n1,cart-579f59597d-wc2lz,server,t,s,"{log}"\nx,6,n1,cart-579f59597d-wc2lz,server,t,s,oops\n'
    file.write_bytes(gzip.compress(text.encode()))
    batch = read_case_files({"logs": [file]}, "nezha")
    (row,) = batch.table("logs").to_pylist()
    assert (row["time_ns"], row["body"], row["severity"], row["service"], row["node"]) == (
        5,
        "ERROR a\nb",
        17,
        "cart",
        "n1",
    )
    assert batch.tally.dropped == {"log record without JSON or time": 1}


@pytest.mark.parametrize("stamp", ["1700000000", "1700000000000", "1700000000000000000", "2023-11-14T22:13:20Z"])
def test_wide_csv_tells_the_unit_of_time_by_its_size(tmp_path: Path, stamp: str) -> None:
    file = tmp_path / "data.csv"
    file.write_text(f"time,cart_service_cpu,web_mem\n{stamp},0.5,\n", encoding="utf-8")
    batch = read_case_files({"metrics": [file]})
    points = [(p["series_id"], p["time_ns"], p["value"]) for p in batch.table("points").to_pylist()]
    assert points == [("cart_service_cpu", 1_700_000_000 * 10**9, 0.5)]
    assert batch.table("series")["service"].to_pylist() == ["cart_service", "web"]


def test_petshop_metrics_and_graph(tmp_path: Path) -> None:
    metrics, graph = tmp_path / "metrics.csv", tmp_path / "graph.csv"
    metrics.write_text(
        "microservice,A,B\nmetric,latency,latency\nstatistic,Average,p95\n1700000000,1.5,\n", encoding="utf-8"
    )
    graph.write_text(",A,B\nA,0,1\nB,0,0\n", encoding="utf-8")
    batch = read_case_files({"metrics": [metrics]})
    series = [(s["service"], s["name"]) for s in batch.table("series").to_pylist()]
    assert series == [("A", "latency/Average"), ("B", "latency/p95")]
    assert [(p["series_id"], p["value"]) for p in batch.table("points").to_pylist()] == [("A/latency/Average", 1.5)]
    assert list(read_graph(graph).edges) == [("A", "B")]


def test_missing_file_names_itself_and_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"gone\.csv: no such file; paths are relative to --root"):
        read_case_files({"metrics": [tmp_path / "gone.csv"]})


def test_file_without_the_expected_columns_is_a_decode_error(tmp_path: Path) -> None:
    file = tmp_path / "x_trace.csv"
    file.write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(DecodeError, match="expected the columns TraceID"):
        read_case_files({"traces": [file]}, "nezha")


def test_nezha_metrics_cut_in_their_middle_give_the_whole_rows(tmp_path: Path) -> None:
    file = tmp_path / "cart-579f59597d-wc2lz_metric.csv"
    header = "Time,TimeStamp,PodName,CpuUsage(m),SyscallRead"
    row = "2022-08-22 03:51:{:02}.5 +0000 UTC m=+0.1,1,cart-579f59597d-wc2lz,1.5,{}"
    file.write_text("\n".join([header, row.format(19, 7), row.format(20, ""), "2022-08-22 03:5"]), encoding="utf-8")
    batch = read_case_files({"metrics": [file]})
    series = {row["series_id"]: row["name"] for row in batch.table("series").to_pylist()}
    start = 1_661_140_279_500_000_000
    assert [(series[p["series_id"]], p["time_ns"] - start, p["value"]) for p in batch.table("points").to_pylist()] == [
        ("CpuUsage(m)", 0, 1.5),
        ("CpuUsage(m)", 10**9, 1.5),
        ("SyscallRead", 0, 7.0),
    ]
    assert (
        batch.table("series").select(["service", "pod"]).to_pylist()
        == [{"service": "cart", "pod": "cart-579f59597d-wc2lz"}] * 2
    )
    assert batch.tally.dropped == {"row without 5 cells": 1}


def test_cut_archive_of_a_case_gives_what_it_holds(tmp_path: Path) -> None:
    file = tmp_path / "data.csv.gz"
    rows = "".join(f"{1_700_000_000 + second},{second}\n" for second in range(20_000))
    file.write_bytes(gzip.compress(f"time,web_cpu\n{rows}".encode())[:-5000])
    batch = read_case_files({"metrics": [file]})
    values = batch.table("points")["value"].to_pylist()
    assert 0 < len(values) < 20_000
    assert values[:-1] == [float(second) for second in range(len(values) - 1)]
    assert batch.tally.dropped["rest of a source that broke off"] == 1


@pytest.mark.parametrize(
    "content",
    [
        '[{"parent": "a", "child": "b", "callCount": 3}]',
        '{"data": [{"parent": "a", "child": "b", "callCount": 3}]}',
        "Source,Target,Weight\na,b,1\n",
        ",a,b\na,0,1\nb,0,0\n",
    ],
)
def test_graphs_come_in_several_forms(tmp_path: Path, content: str) -> None:
    file = tmp_path / "graph"
    file.write_text(content, encoding="utf-8")
    assert list(read_graph(file).edges) == [("a", "b")]


def test_what_is_no_graph_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "graph"
    for content in ('[{"parent": "a"}]', "x,y\n1,2\n", "[", "[[]]"):
        file.write_text(content, encoding="utf-8")
        with pytest.raises(DecodeError):
            read_graph(file)


def test_unknown_dataset_is_told_by_content(tmp_path: Path) -> None:
    metrics, traces = tmp_path / "m", tmp_path / "t"
    metrics.write_text('up{job="shop/cart"} 1 1700000000\n', encoding="utf-8")
    span = {"traceId": "7a", "id": "1", "timestamp": 1_700_000_000_000_000, "localEndpoint": {"serviceName": "a"}}
    traces.write_text(json.dumps([span]), encoding="utf-8")
    batch = read_case_files({"metrics": [metrics], "traces": [traces]}, "never-heard-of")
    assert (batch.table("series")["service"].to_pylist(), batch.table("spans")["service"].to_pylist()) == (
        ["cart"],
        ["a"],
    )
