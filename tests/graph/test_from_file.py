"""Graphs that a file tells without times: all views draw them, and what is unknown stays unknown."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hypocenter.cli.main import app
from hypocenter.errors import DecodeError, GraphError
from hypocenter.graph.dependency_graph import DependencyGraph

LINKS = [
    {"parent": "web", "child": "cart", "callCount": 1200},
    {"parent": "cart", "child": "db", "callCount": 7},
    {"parent": "cart", "child": "cart", "callCount": 1},
]


@pytest.fixture
def jaeger(tmp_path: Path) -> Path:
    path = tmp_path / "dependencies.json"
    path.write_text(json.dumps({"data": LINKS}), encoding="utf-8")
    return path


def test_dependencies_of_jaeger_are_a_graph_of_calls_without_rates(jaeger: Path) -> None:
    graph = DependencyGraph.from_file(jaeger)
    known = [(e["source"], e["target"], e["count"], e["known_from"]) for e in graph.edges.to_dict("records")]
    assert known == [("web", "cart", 1200, "file"), ("cart", "db", 7, "file"), ("cart", "cart", 1, "file")]
    unknown = ["rate_per_s", "errors", "error_ratio", "client_errors", "client_p50_s", "rate_from"]
    assert graph.edges[unknown].isna().all(axis=None)
    assert graph.nodes["id"].tolist() == ["cart", "db", "web"]
    assert repr(graph) == "<DependencyGraph without times: 3 nodes, 3 edges, 1,208 calls; no spans>"


def test_a_matrix_tells_not_even_the_calls(tmp_path: Path) -> None:
    path = tmp_path / "matrix.csv"
    path.write_text(",web,cart\nweb,0,1\ncart,0,0\n", encoding="utf-8")
    graph = DependencyGraph.from_file(path)
    assert graph.edges[["source", "target"]].values.tolist() == [["web", "cart"]]
    assert graph.edges[["count", "adjusted_count", "rate_per_s"]].isna().all(axis=None)
    assert '"web" -> "cart" [label="", penwidth=1.0];' in graph.to_dot()
    assert len(graph.figure().data) > 0


def test_every_view_of_the_command_draws_it(jaeger: Path, tmp_path: Path) -> None:
    def run(*arguments: str) -> str:
        result = CliRunner().invoke(app, ["graph", "--from", str(jaeger), *arguments])
        assert result.exit_code == 0, result.output
        return result.stdout

    assert run().splitlines()[1].split() == ["web", "cart", "service", "1,200", *["-"] * 7]
    read = json.loads(run("-o", "json"))
    assert (read["window"], read["edges"][0]["rate_per_s"]) == (None, None)
    assert "1,200 calls" in run("-o", "dot")
    assert "1,200 calls" in run("-o", "mermaid")
    assert "<graph" in run("-o", "graphml")
    page = tmp_path / "map.html"
    run("--html", str(page))
    assert "3 services, 3 edges" in page.read_text(encoding="utf-8")


def test_what_needs_times_says_that_there_are_none(jaeger: Path) -> None:
    graph = DependencyGraph.from_file(jaeger)
    with pytest.raises(GraphError, match="from a file without times"):
        graph.diff(graph)
    assert graph.merge(graph).edges["count"].tolist() == [2400, 14, 2]


def test_a_store_or_a_file_is_asked_for_and_a_file_that_holds_no_graph_is_refused(tmp_path: Path) -> None:
    assert CliRunner().invoke(app, ["graph"]).exit_code == 2
    other = tmp_path / "spans.json"
    other.write_text('{"resourceSpans": []}', encoding="utf-8")
    with pytest.raises(DecodeError, match="expected a list of"):
        DependencyGraph.from_file(other)
