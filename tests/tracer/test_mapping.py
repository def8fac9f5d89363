"""Tables of others, read under a map."""

import io
import re
from pathlib import Path

import pytest

from hypocenter.errors import SourceError
from hypocenter.tracer.batch import Batch, concat
from hypocenter.tracer.mapping import read_map
from hypocenter.tracer.source import Source, decompressed

PAGE = Path(__file__).parents[2] / "docs" / "formats.md"
MS = 1_700_000_000_000


def read(tmp_path: Path, map_text: str, content: str) -> Batch:
    file = tmp_path / "map.yaml"
    file.write_text(map_text, encoding="utf-8")
    return concat(read_map(file).read(Source("x.csv", decompressed(io.BytesIO(content.encode())))))


def test_the_map_of_the_page_names_spans(tmp_path: Path) -> None:
    example, *_ = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    header = "TraceId,SpanId,ParentId,cmdb_id,operation,timestamp,duration,type,zone,flag"
    rows = [f"T,1,,web,get,{MS}.5,12.25,entry,eu,", f"T,2,1,cart,get,{MS},7,Other,,x", "T,,1,cart,get,soon,7,Exit,,"]
    batch = read(tmp_path, example, "\n".join([header, *rows]))
    columns = ["span_id", "parent_span_id", "service", "start_ns", "duration_ns", "kind", "environment", "attributes"]
    assert [tuple(row.values()) for row in batch.table("spans").select(columns).to_pylist()] == [
        ("1", None, "web", MS * 10**6 + 500_000, 12_250, 2, "production", [("zone", '"eu"')]),
        ("2", "1", "cart", MS * 10**6, 7_000, 0, "production", [("flag", '"x"')]),
    ]
    assert batch.tally.dropped == {"row of spans without trace_id, span_id, start_ns, source": 1}


def test_metrics_are_a_sample_a_row(tmp_path: Path) -> None:
    columns = "{name: kpi, time_ns: t, value: v, service: svc}"
    text = f"signal: metrics\ncolumns: {columns}\nattributes: rest\n"
    rows = ["1700000000,web,cpu,0.5,a", "1700000001,web,cpu,,a", "1700000002,web,cpu,1,a", "1700000002,web,cpu,2,b"]
    batch = read(tmp_path, text, "\n".join(["t,svc,kpi,v,dc", *rows]))
    listed = batch.table("series").select(["series_id", "name", "service", "kind", "attributes"]).to_pylist()
    series = {row.pop("series_id"): tuple(row.values()) for row in listed}
    found = [(*series[p["series_id"]], p["time_ns"] // 10**9, p["value"]) for p in batch.table("points").to_pylist()]
    assert found == [
        ("cpu", "web", "gauge", [("dc", '"a"')], 1_700_000_000, 0.5),
        ("cpu", "web", "gauge", [("dc", '"a"')], 1_700_000_002, 1.0),
        ("cpu", "web", "gauge", [("dc", '"b"')], 1_700_000_002, 2.0),
    ]
    assert (len(series), batch.tally.dropped) == (2, {"sample without a name, a time or a number": 1})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("signal: traces\ncolumns: {}\n", "signal one of spans, logs, metrics"),
        ("signal: spans\ncolumns: {}\nmore: 1\n", "expected the keys signal, columns"),
        ("signal: spans\ncolumns: {color: x}\n", "'color' is no column of spans"),
        ("signal: spans\ncolumns: {start_ns: {column: x, unit: h}}\n", "start_ns: expected a column's name"),
        ("signal: spans\ncolumns: {}\nattributes: all\n", "expected rest or none, got 'all'"),
        ("signal: [", "expected a YAML file"),
    ],
)
def test_a_wrong_map_is_refused_with_what_is_accepted(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(SourceError, match=re.escape(reason)):
        read(tmp_path, text, "")
