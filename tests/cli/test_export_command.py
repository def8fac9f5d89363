"""`hypocenter export`: data on standard output or in a whole file, talk on standard error, formats that fit."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
import small_incident as small
import typer
from typer.testing import CliRunner, Result

from hypocenter.cli.export import export
from hypocenter.errors import DeliveryError, SourceError
from hypocenter.graph.cache import rollups
from hypocenter.graph.dependency_graph import DependencyGraph
from hypocenter.graph.link import link
from hypocenter.tracer.batch import Batch
from hypocenter.tracer.otlp import JSON, decode_traces
from hypocenter.tracer.schema import SIGNALS
from hypocenter.tracer.store import Store
from hypocenter.tracer.window import HOUR_NS

app = typer.Typer()
app.command()(export)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    opened = Store(tmp_path_factory.mktemp("store"), create=True)
    opened.append(small.telemetry())
    return opened


def run(store: Store, *arguments: object) -> Result:
    result = CliRunner().invoke(app, [*map(str, arguments), "--store", str(store.path)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def parquet(store: Store, *arguments: object) -> pa.Table:
    return pq.read_table(io.BytesIO(run(store, *arguments).stdout_bytes))


@pytest.mark.parametrize("signal", sorted(SIGNALS))
def test_signals_come_out_as_they_are_stored(store: Store, signal: str) -> None:
    assert parquet(store, signal).cast(SIGNALS[signal]).equals(store.read(signal))


def test_calls_are_those_of_linking_whatever_the_hour(tmp_path: Path) -> None:
    store = Store(tmp_path / "store", create=True)
    spans = small.telemetry().table("spans")
    # Half of the traces before and half after the turn of an hour.
    shift = small.START_NS // HOUR_NS * HOUR_NS + HOUR_NS - small.START_NS - 240 * small.SECOND_NS
    moved = spans.set_column(
        spans.schema.get_field_index("start_ns"), spans.schema.field("start_ns"), pc.add(spans["start_ns"], shift)
    )
    store.append(Batch({"spans": moved}))
    order = [(name, "ascending") for name in ("trace_id", "start_ns", "client_span_id")]
    assert parquet(store, "calls").sort_by(order).equals(link(moved).calls.sort_by(order))


def test_rollups_come_out_as_they_are(store: Store) -> None:
    window = store.bounds("spans")
    assert window is not None
    for name in ("edges", "operations", "instances"):
        assert parquet(store, name).equals(getattr(rollups(store, window), name))


def test_histograms_are_json_in_csv(store: Store) -> None:
    read = pacsv.read_csv(io.BytesIO(run(store, "edges", "--format", "csv").stdout_bytes))
    window = store.bounds("spans")
    assert window is not None
    expected = rollups(store, window).edges["client_duration"].to_pylist()
    assert [json.loads(text) for text in read["client_duration"].to_pylist()] == expected


def test_spans_as_otlp_lines_decode_to_the_same_spans(store: Store) -> None:
    done = run(store, "spans", "--format", "otlp-json")
    lines = done.stdout_bytes.splitlines()
    tables = [decode_traces(line, JSON, "x").table("spans") for line in lines]
    columns = ["span_id", "parent_span_id", "name", "kind", "status", "start_ns", "duration_ns", "service"]
    assert pa.concat_tables(tables).select(columns).equals(store.read("spans", columns=columns))
    # The first trace's id is all zeros, which OTLP forbids.
    assert done.stderr.splitlines() == [
        "8 spans have ids that OTLP cannot hold; digests stand in for them",
        "spans: 3,840 rows as otlp-json",
    ]


def test_window_bounds_what_comes_out(store: Store) -> None:
    window = ("--since", small.START_NS // 10**9 + 100, "--until", small.START_NS // 10**9 + 110)
    assert set(parquet(store, "spans", *window)["trace_id"].to_pylist()) == {f"{i:032x}" for i in range(100, 110)}
    assert parquet(store, "points", *window).num_rows == 4


def test_graph_is_that_of_the_graph_command(store: Store) -> None:
    graph = DependencyGraph.read(store)
    assert json.loads(run(store, "graph").stdout) == graph.to_json()
    assert parquet(store, "graph", "--format", "parquet")["source"].to_pylist() == list(graph.edges["source"])


def test_ranking_comes_out_as_json_and_as_a_table(store: Store) -> None:
    made = json.loads(run(store, "ranking").stdout)
    assert made["outcome"] == "ranked"
    read = pacsv.read_csv(io.BytesIO(run(store, "ranking", "--format", "csv").stdout_bytes))
    assert read["entity"].to_pylist() == [candidate["entity"] for candidate in made["candidates"]]


@pytest.mark.parametrize(("name", "begin"), [("s.parquet", b"PAR1"), ("s.csv", b'"trace_id"'), ("s.jsonl", b"{")])
def test_name_of_the_file_tells_the_format(store: Store, tmp_path: Path, name: str, begin: bytes) -> None:
    done = run(store, "spans", "--out", tmp_path / name)
    assert done.stdout == ""
    assert (tmp_path / name).read_bytes().startswith(begin)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_file_that_cannot_be_written_is_one_error(store: Store, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot be written"):
        run(store, "spans", "--out", tmp_path / "absent" / "s.csv")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("everything",), "expected spans, series"),
        (("graph", "--format", "otlp-json"), "graph can be written as json, parquet, csv, not 'otlp-json'"),
        (("spans", "--format", "json"), "spans can be written as parquet, csv, otlp-json, not 'json'"),
        (("logs", "--out", "x.json"), "logs can be written as parquet, csv, not 'json'"),
        (("logs", "--endpoint", "http://localhost:1"), "an endpoint takes spans"),
        (("spans", "--endpoint", "file:///etc/passwd"), "expected an address"),
        (("spans", "--endpoint", "http://localhost:1", "--header", "x"), "expected NAME=VALUE"),
        (("spans", "--header", "a=b"), "only requests to an --endpoint"),
        (("spans", "--since", "2023-11-14T23:00:00Z", "--until", "2023-11-14T22:00:00Z"), "is not before"),
    ],
)
def test_misuse_is_refused_with_what_fits(store: Store, arguments: tuple[str, ...], message: str) -> None:
    done = run(store, *arguments)
    assert done.exit_code == 2
    assert message in " ".join(done.stderr.replace("│", " ").split())


def test_refused_delivery_says_how_far_it_came(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: object, body: bytes) -> None:
        raise DeliveryError("http://x/v1/traces: refused: 401")

    monkeypatch.setattr("hypocenter.tracer.otlp.post.TracePoster.post", refuse)
    result = CliRunner().invoke(app, ["spans", "--store", str(store.path), "--endpoint", "http://x"])
    assert isinstance(result.exception, DeliveryError)
    assert result.stderr.endswith("http://x/v1/traces: 0 spans sent\n")


def test_empty_store_gives_empty_tables(tmp_path: Path) -> None:
    empty = Store(tmp_path / "empty", create=True)
    for what in ("spans", "calls", "edges"):
        assert parquet(empty, what).num_rows == 0
