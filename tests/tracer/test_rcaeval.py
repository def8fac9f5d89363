"""The RCAEval layout: microsecond spans without kinds, and logs without trace context."""

from pathlib import Path

from hypocenter.tracer.layouts import read_case_files


def test_spans_are_read_whatever_the_order_of_columns(tmp_path: Path) -> None:
    file = tmp_path / "traces.csv"
    header = "time,serviceName,traceID,spanID,parentSpanID,operationName,startTime,duration,statusCode"
    rows = [
        "x,web,AA,01,,GET,1700000000000000,250,0",
        "x,cart,AA,02,01,Add,1700000000000100,-5,13",
        "x,,AA,03,01,A,1,1,0",
    ]
    file.write_text("\n".join([header, *rows]), encoding="utf-8")
    batch = read_case_files({"traces": [file]})
    columns = ["trace_id", "span_id", "parent_span_id", "service", "name", "start_ns", "duration_ns", "status"]
    assert batch.table("spans").select(columns).to_pylist() == [
        dict(zip(columns, ("aa", "01", None, "web", "GET", 1_700_000_000_000_000_000, 250_000, 0), strict=True)),
        dict(zip(columns, ("aa", "02", "01", "cart", "Add", 1_700_000_000_000_100_000, 0, 2), strict=True)),
    ]
    assert batch.tally.dropped == {"span without id, service or time": 1}
    assert batch.tally.repaired == {"end before start": 1}


def test_logs_keep_their_container_as_service(tmp_path: Path) -> None:
    file = tmp_path / "logs.csv"
    file.write_text("time,timestamp,container_name,message\nx,1700000000000000000,cart,lost\n", encoding="utf-8")
    (row,) = read_case_files({"logs": [file]}).table("logs").to_pylist()
    assert (row["time_ns"], row["service"], row["body"], row["span_id"]) == (
        1_700_000_000_000_000_000,
        "cart",
        "lost",
        None,
    )
