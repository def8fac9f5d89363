"""`hypocenter graph`, `diff` and `doctor`: data on stdout, talk on stderr, windows in every way of writing a time."""

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import networkx as nx
import pyarrow as pa
import pytest
import typer
from typer.testing import CliRunner, Result

from hypocenter.cli.diff import diff
from hypocenter.cli.doctor import doctor
from hypocenter.cli.graph import graph
from hypocenter.cli.text import table
from hypocenter.errors import GraphError, SourceError
from hypocenter.tracer.batch import Batch
from hypocenter.tracer.schema import SPANS
from hypocenter.tracer.store import Store
from hypocenter.tracer.window import SECOND_NS

# 2023-11-14T22:13:20Z
START_S = 1_700_000_000
MS = 10**6


def span(
    trace: str, name: str, parent: str | None, service: str, kind: int, at_s: float, **more: Any
) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(SPANS.names)
    row |= {"trace_id": trace, "span_id": f"{trace}-{name}", "parent_span_id": parent and f"{trace}-{parent}"}
    row |= {"service": service, "kind": kind, "name": name, "status": 0, "duration_ns": 100 * MS}
    row |= {"start_ns": int((START_S + at_s) * SECOND_NS), "adjusted_milli": 1000, "source": "test"}
    return row | more


def visit(
    number: int, at_s: float, *, failed: bool = False, slow: int = 1, service: str = "cart"
) -> list[dict[str, Any]]:
    """Return the spans of one request: outside -> web -> cart -> db, and a client span that names no peer."""
    trace, status = f"t{number}", 2 if failed else 0
    return [
        span(trace, "in", None, "web", 2, at_s, duration_ns=200 * MS * slow),
        span(trace, "out", "in", "web", 3, at_s, duration_ns=100 * MS * slow, status=status),
        span(trace, "work", "out", service, 2, at_s, duration_ns=90 * MS * slow, status=status),
        span(trace, "query", "work", service, 3, at_s, db_system="postgresql", peer_address="db"),
        span(trace, "lost", "work", service, 3, at_s),
    ]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    spans = [row for i in range(60) for row in visit(i, i)]
    spans += [row for i in range(60, 120) for row in visit(i, i, failed=i % 2 == 0, slow=3)]
    Store(tmp_path / "store", create=True).append(Batch({"spans": pa.Table.from_pylist(spans, SPANS)}))
    return tmp_path / "store"


def run(command: Any, *arguments: object) -> Result:
    app = typer.Typer()
    app.command()(command)
    return CliRunner().invoke(app, list(map(str, arguments)))


def test_text_is_a_table_by_traffic_and_the_coverage(store: Path) -> None:
    done = run(graph, "--store", store)
    assert done.exit_code == 0
    assert done.stdout.splitlines() == [
        "caller    callee  kind      calls  calls/s  errors  client p50  client p95  server p50  server p95  gap p50",
        "cart      db      database    120        1       0      101 ms      101 ms           -           -        -",
        "external  web     entry       120        1       0           -           -      203 ms      598 ms        -",
        "web       cart    service     120        1  25.00%      101 ms      299 ms     88.9 ms      274 ms  10.2 ms",
        "",
        "coverage: 600 spans, 480 in calls (80.0% explained); 120 client-without-peer",
    ]
    assert done.stderr == "all that the store holds: 2023-11-14T22:13:20Z/2023-11-14T22:15:20Z\n"


def test_columns_are_left_out_until_the_lines_fit_and_are_named() -> None:
    columns = {"caller": ["web"], "kind": ["service"], "calls": ["1,200"], "p50": ["12.3 ms"]}
    whole = ["caller  kind     calls      p50", "web     service  1,200  12.3 ms"]
    assert table(columns, left=2, spare=["p50", "kind"], width=None) == whole
    assert table(columns, left=2, spare=["p50", "kind"], width=31) == whole
    assert table(columns, left=2, spare=["p50", "kind"], width=30) == [
        "caller  kind     calls",
        "web     service  1,200",
        "left out to fit: p50 (-o json has all)",
    ]
    assert table(columns, left=2, spare=["p50", "kind"], width=5) == [
        "caller  calls",
        "web     1,200",
        "left out to fit: p50, kind (-o json has all)",
    ]


def test_json_follows_its_contract(store: Path) -> None:
    made = json.loads(run(graph, "--store", store, "-o", "json").stdout)
    assert made["window"] == {"start": "2023-11-14T22:13:20Z", "end": "2023-11-14T22:15:20Z"}
    assert {node["id"]: node["kind"] for node in made["nodes"]} == {
        "cart": "service", "db": "database", "external": "entry", "web": "service",
    }  # fmt: skip
    assert {(e["source"], e["target"], e["kind"], e["count"], e["errors"]) for e in made["edges"]} == {
        ("external", "web", "entry", 120, 0), ("web", "cart", "service", 120, 30), ("cart", "db", "database", 120, 0),
    }  # fmt: skip
    assert made["coverage"]["unlinked"] == {"client-without-peer": 120}


@pytest.mark.parametrize(
    ("since", "until"),
    [
        ("2023-11-14T22:14:20Z", "2023-11-14T22:14:50Z"),
        ("2023-11-14T23:14:20+01:00", "1700000090"),
        (str(START_S + 60), str((START_S + 90) * 1000)),
        ("1700000063", "1700000087"),
    ],
)
def test_window_in_any_writing_is_widened_to_whole_steps(store: Path, since: str, until: str) -> None:
    done = run(graph, "--store", store, "--since", since, "--until", until, "-o", "json")
    made = json.loads(done.stdout)
    assert made["window"] == {"start": "2023-11-14T22:14:20Z", "end": "2023-11-14T22:14:50Z"}
    assert {edge["count"] for edge in made["edges"]} == {30}
    assert done.stderr == ""


def test_one_end_alone_takes_the_other_from_the_store(store: Path) -> None:
    late = json.loads(run(graph, "--store", store, "--since", START_S + 100, "-o", "json").stdout)
    early = json.loads(run(graph, "--store", store, "--until", START_S + 20, "-o", "json").stdout)
    assert [{e["count"] for e in made["edges"]} for made in (late, early)] == [{20}, {20}]


def test_window_without_data_says_where_the_data_is(store: Path) -> None:
    done = run(graph, "--store", store, "--since", "-1h")
    assert (done.exit_code, done.stdout) == (0, "coverage: no spans\n")
    assert (
        "no calls in" in done.stderr
        and "the store holds spans in 2023-11-14T22:13:20Z/2023-11-14T22:15:19.000000001Z" in done.stderr
    )


def test_namespace_of_a_service_comes_from_its_spans(tmp_path: Path) -> None:
    spans = [span("a", "in", None, "web", 2, 0, service_namespace="shop")]
    Store(tmp_path / "s", create=True).append(Batch({"spans": pa.Table.from_pylist(spans, SPANS)}))
    made = json.loads(run(graph, "--store", tmp_path / "s", "-o", "json").stdout)
    assert {node["id"]: node["namespace"] for node in made["nodes"]} == {"external": None, "web": "shop"}


def test_graphml_dot_and_mermaid_are_those_formats(store: Path) -> None:
    graphml = nx.parse_graphml(run(graph, "--store", store, "-o", "graphml").stdout)
    assert set(graphml.edges) == {("external", "web"), ("web", "cart"), ("cart", "db")}
    assert '"web" -> "cart" [label="1/s, 25.0% errors"' in run(graph, "--store", store, "-o", "dot").stdout
    assert run(graph, "--store", store, "-o", "mermaid").stdout.startswith("flowchart LR\n")


def test_grafana_gets_the_frames_of_its_node_graph(store: Path) -> None:
    nodes, edges = json.loads(run(graph, "--store", store, "-o", "grafana").stdout)
    assert [frame["schema"]["name"] for frame in (nodes, edges)] == ["nodes", "edges"]
    assert (nodes["data"]["values"][0], edges["data"]["values"][2]) == (
        ["cart", "db", "external", "web"], ["db", "web", "cart"],
    )  # fmt: skip


def test_openmetrics_counts_the_calls_by_minute(store: Path) -> None:
    lines = run(graph, "--store", store, "-o", "openmetrics").stdout.splitlines()
    ends = 'traces_service_graph_request_total{client="web",server="cart",connection_type=""}'
    assert [int(line.split()[-2]) for line in lines if line.startswith(ends)] == [0, 40, 100, 120]
    assert lines[-1] == "# EOF"


def test_map_is_one_page_that_asks_nothing_of_the_network(store: Path, tmp_path: Path) -> None:
    done = run(graph, "--store", store, "--html", tmp_path / "map.html")
    page = (tmp_path / "map.html").read_text(encoding="utf-8")
    assert f"service map: {tmp_path / 'map.html'}" in done.stderr
    asked: list[str] = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attrs: asked.extend(f"{tag} {v}" for k, v in attrs if k in ("src", "href"))
    parser.feed(page)
    assert asked == []
    assert "<b>web</b>" in page.replace("\\u003c", "<").replace("\\u003e", ">").replace("\\u002f", "/")


def test_map_for_a_folder_that_is_not_there_names_the_file(store: Path, tmp_path: Path) -> None:
    page = tmp_path / "absent" / "map.html"
    done = run(graph, "--store", store, "--html", page)
    assert isinstance(done.exception, SourceError)
    assert str(done.exception) == f"{page}: cannot be written (No such file or directory)"


@pytest.mark.parametrize(
    "arguments", [("-o", "yaml"), ("--since", "yesterday"), ("--since", "1700000090", "--until", "1700000080")]
)
def test_misuse_is_refused(store: Path, arguments: tuple[str, ...]) -> None:
    assert run(graph, "--store", store, *arguments).exit_code == 2


def test_empty_store_says_how_to_fill_it(tmp_path: Path) -> None:
    Store(tmp_path / "empty", create=True)
    assert str(run(graph, "--store", tmp_path / "empty").exception).endswith(
        f"holds no spans; add some with: hypocenter ingest PATH --store {tmp_path / 'empty'}"
    )
    assert isinstance(run(graph, "--store", tmp_path / "empty").exception, GraphError)


def test_diff_names_what_changed(store: Path) -> None:
    windows = "--before", f"{START_S}/{START_S + 60}", "--after", f"{START_S + 60}/{START_S + 120}"
    done = run(diff, "--store", store, *windows, "--exit-code")
    assert done.exit_code == 3
    assert done.stdout.splitlines() == [
        "from 2023-11-14T22:13:20Z/2023-11-14T22:14:20Z to 2023-11-14T22:14:20Z/2023-11-14T22:15:20Z",
        "changed: external -> web: server p50 203 ms -> 598 ms (x2.94, p < 1e-9)",
        "changed: web -> cart: client p50 101 ms -> 299 ms (x2.93, p < 1e-9)",
        "changed: web -> cart: gap p50 10.2 ms -> 30.1 ms (x2.78, p < 1e-9)",
        "changed: web -> cart: server p50 88.9 ms -> 274 ms (x3.06, p < 1e-9)",
        "changed: web -> cart: errors 0.00% -> 50.00% (p < 1e-9)",
    ]


def test_diff_of_a_window_with_itself_is_empty(store: Path) -> None:
    windows = "--before", f"{START_S}/{START_S + 60}", "--after", f"{START_S}/{START_S + 60}"
    made = json.loads(run(diff, "--store", store, *windows, "-o", "json", "--exit-code").stdout)
    assert (made["appeared"], made["vanished"], made["changed"]) == ([], [], [])


def test_doctor_names_the_services_at_fault_and_the_remedy(store: Path) -> None:
    done = run(doctor, "--store", store, "-o", "json")
    (finding,) = json.loads(done.stdout)["findings"]
    assert finding["title"] == "spans that are no side of a call: client-without-peer"
    assert finding["subjects"] == {"cart": 120}
    assert "server.address" in finding["remedy"]


def test_doctor_finds_broken_context_missing_client_spans_and_missing_names(tmp_path: Path) -> None:
    spans = [
        span("a", "x", "gone", "cart", 2, 0),
        span("b", "in", None, "web", 2, 0),
        span("b", "work", "in", "cart", 2, 0),
        span("c", "in", None, "unknown_service:node", 2, 0),
        span("d", "in", None, "web", 2, 0),
        span("d", "pay", "in", "web", 3, 0, peer_service="stripe"),
    ]
    Store(tmp_path / "s", create=True).append(Batch({"spans": pa.Table.from_pylist(spans, SPANS)}))
    found = json.loads(run(doctor, "--store", tmp_path / "s", "-o", "json").stdout)["findings"]
    assert {f["title"].partition(":")[0]: f["subjects"] for f in found} == {
        "spans whose parent was not recorded": {"cart": 1},
        "calls without a client span": {"web -> cart": 1},
        "spans without a service name": {"unknown_service:node": 1},
        "peers that report no spans of their own": {"stripe": 1},
    }


def test_doctor_says_how_much_sampling_left(tmp_path: Path) -> None:
    spans = [span("a", "in", None, "web", 2, 0, adjusted_milli=4000), span("b", "in", None, "web", 2, 0)]
    Store(tmp_path / "s", create=True).append(Batch({"spans": pa.Table.from_pylist(spans, SPANS)}))
    assert "sampling: 2 calls stand for 5 (40.00%)" in run(doctor, "--store", tmp_path / "s").stdout.splitlines()
    made = json.loads(run(doctor, "--store", tmp_path / "s", "-o", "json").stdout)
    assert made["sampling"] == {"calls": 2, "adjusted_calls": 5.0}


def test_tables_beside_the_edges(store: Path) -> None:
    found = json.loads(
        run(graph, "--store", store, "--operations", "--instances", "--impact", "db", "-o", "json").stdout
    )
    assert sorted(found) == [
        *("criticality_of_all", "cut_services", "depends_on_it", "entry_points_affected", "instances"),
        *("it_depends_on", "operations"),
    ]
    assert sum(row["critical_share"] for row in found["operations"]) == pytest.approx(1)
    assert [row["id"] for row in found["depends_on_it"]] == ["cart", "external", "web"]
    assert found["cut_services"] == [
        {"id": "web", "kind": "service", "cuts_off": 2, "calls": 240},
        {"id": "cart", "kind": "service", "cuts_off": 1, "calls": 120},
    ]
    text = run(graph, "--store", store, "--impact", "db").stdout
    assert "entry points affected" in text
    lines = text.splitlines()
    at = lines.index("cut services")
    assert [line.split() for line in lines[at + 1 : at + 4]] == [
        ["id", "kind", "cuts", "off", "calls"], ["web", "service", "2", "240"], ["cart", "service", "1", "120"],
    ]  # fmt: skip
    assert "100.00%" in text


def test_table_says_how_often_a_request_calls_where_one_does_so_again(store: Path, tmp_path: Path) -> None:
    assert "per request" not in run(graph, "--store", store).stdout
    spans = [
        span("a", "in", None, "web", 2, 0),
        *(
            span("a", f"{n}", "in", "web", 3, n, peer_service="bank", status=2 * (n < 2)) | {"name": "pay"}
            for n in range(3)
        ),
        span("b", "in", None, "web", 2, 0),
        span("b", "pay", "in", "web", 3, 0, peer_service="bank"),
    ]
    Store(tmp_path / "s", create=True).append(Batch({"spans": pa.Table.from_pylist(spans, SPANS)}))
    lines = [line.split() for line in run(graph, "--store", tmp_path / "s").stdout.splitlines()]
    (bank,) = (line for line in lines if "bank" in line)
    assert lines[0][6:9] == ["per", "request", "again"]
    assert bank[6:8] == ["2", "2"]


def test_ways_to_a_node_are_followed_through_a_store(store: Path) -> None:
    found = json.loads(run(graph, "--store", store, "--ways", "db", "-o", "json").stdout)["ways"]
    assert [row["way"] for row in found] == ["external -> web -> cart -> db"]
    assert sum(row["share"] for row in found) == 1
    lost = run(graph, "--store", store, "--ways", "nothing")
    assert (lost.exit_code, "no call to 'nothing'" in str(lost.exception)) == (1, True)


@pytest.mark.parametrize("by", ["namespace", "pod", "version", "operation"])
def test_nodes_of_another_kind(store: Path, by: str) -> None:
    assert len(json.loads(run(graph, "--store", store, "--by", by, "-o", "json").stdout)["edges"]) == 3


def test_unknown_kind_of_node_is_refused(store: Path) -> None:
    assert run(graph, "--store", store, "--by", "colour").exit_code == 2
    assert run(graph, "--store", store, "--towards", "nowhere").exit_code == 2


def test_doctor_has_a_table_of_clocks_that_disagree(tmp_path: Path) -> None:
    spans = []
    for i in range(20):
        spans += [span(f"t{i}", "out", None, "web", 3, i), span(f"t{i}", "in", "out", "cart", 2, i + 7, duration_ns=MS)]
    Store(tmp_path / "store", create=True).append(Batch({"spans": pa.Table.from_pylist(spans, SPANS)}))
    text = run(doctor, "--store", tmp_path / "store").stdout
    assert "clocks that disagree" in text
    assert "6.95 s" in text
    (row,) = json.loads(run(doctor, "--store", tmp_path / "store", "-o", "json").stdout)["clock_skew"]
    assert (row["caller_clock"], row["callee_clock"], row["impossible"]) == ("web", "cart", 20)


def test_diff_around_a_rollout(tmp_path: Path) -> None:
    spans = []
    for i in range(600):
        spans += [span(f"t{i}", "out", None, "web", 3, i)]
        spans += [span(f"t{i}", "in", "out", "cart", 2, i, service_version="1" if i < 300 else "2")]
    Store(tmp_path / "store", create=True).append(Batch({"spans": pa.Table.from_pylist(spans, SPANS)}))
    text = run(diff, "--store", tmp_path / "store", "--rollout", "cart").stdout
    assert "version appeared: cart 2" in text
    assert run(diff, "--store", tmp_path / "store").exit_code == 2
