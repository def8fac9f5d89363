"""What each export says of a graph, read back where a reader is at hand: hostile names stay apart and stay text."""

import html
import json
import re
import xml.etree.ElementTree as ET

import networkx as nx
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rollup_tables import edge, graph, histogram

from hypocenter.graph.dependency_graph import DependencyGraph
from hypocenter.graph.export import edge_label, to_node_link
from hypocenter.graph.rollup import Rollups, empty

HOSTILE = '<script>alert("x")</script>\n&\0'
NAMES = [HOSTILE, "a b", "日本", '"];', "it's #35; &quot;", "`x` %%{init}%% \\n |", "a\x85b\u2028c\rd", "", "end"]
# All that a name of telemetry, which is UTF-8, may hold.
ANY_NAME = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


def from_a_file(*calls: tuple[str, str, int]) -> DependencyGraph:
    """Return a graph without times, as a file tells it; 0 calls are unknown."""
    rows = [edge(caller, callee, count) | {"client_count": 0, "server_count": 0} for caller, callee, count in calls]
    tables = empty()
    edges = pa.Table.from_pylist(rows, tables.edges.schema)
    return DependencyGraph(Rollups(edges, tables.operations, tables.instances, tables.unlinked), ())


def shown_by_mermaid(label: str) -> str:
    """Return the text of a label: ``#35;`` and ``#quot;`` are its entity codes, and there are no others."""
    assert not re.search(r'[<>&"`\\{}|]', label)
    return html.unescape(re.sub(r"#(\d+);", r"&#\1;", label))


@pytest.mark.parametrize("name", NAMES)
def test_every_export_survives_hostile_names(name: str) -> None:
    made = graph(edge("web", name, 5, errors=1))
    assert json.loads(json.dumps(made.to_json()))["edges"][0]["target"] == name
    assert nx.node_link_graph(to_node_link(made), edges="links").has_edge("web", name)
    assert "<script" not in made._repr_html_()
    assert nx.parse_graphml(made.to_graphml()).number_of_edges() == 1
    assert json.loads(json.dumps(made.to_grafana()))[1]["data"]["values"][2] == [name]


@pytest.mark.parametrize(
    ("name", "quoted"),
    [
        ('a"b\\c', r'"a\"b\\c"'),
        ("a\nb", r'"a\nb"'),
        # Graphviz takes NUL for the end of its input.
        ("a\0b", '"a\ufffdb"'),
    ],
)
def test_dot_quotes_names(name: str, quoted: str) -> None:
    text = graph(edge("web", name, 5)).to_dot()
    assert f'  "web" -> {quoted} [label="0.5/s", penwidth=1.4];\n' in text
    assert f"  {quoted};\n" in text


def test_graphml_is_read_back_as_the_graph_it_was() -> None:
    made = graph(
        edge("external", "web", 100, errors=5, client_duration=histogram({0.02: 100})),
        edge("web", "日本 <b>", 60, callee_kind="cache"),
        namespaces={"web": "shop & co"},
    )
    read, known = nx.parse_graphml(made.to_graphml()), made.to_networkx()
    assert dict(read.nodes(data=True)) == dict(known.nodes(data=True))
    assert {ends: read.edges[ends] for ends in read.edges} == {ends: known.edges[ends] for ends in known.edges}
    assert read.graph == known.graph | {"node_default": {}, "edge_default": {}}


def test_graphml_names_its_keys() -> None:
    root = ET.fromstring(graph(edge("web", "cart", 5)).to_graphml())
    assert {key.get("attr.name") for key in root if key.tag.endswith("key")} >= {"kind", "count", "error_ratio"}


def test_what_xml_cannot_hold_is_replaced_in_attributes_too_and_names_stay_apart() -> None:
    made = graph(
        *(edge("web", name, 5) for name in ("a\0", "a\1", "a\ufffd", "a\ufffd (2)")),
        namespaces={"web": "one\x0btwo", "a\0": "\r"},
    )
    read = nx.parse_graphml(made.to_graphml())
    # A name that can be written keeps it.
    assert sorted(read) == ["a\ufffd", "a\ufffd (2)", "a\ufffd (3)", "a\ufffd (4)", "web"]
    assert (read.nodes["web"]["namespace"], read.nodes["a\ufffd (3)"]["namespace"]) == ("one\ufffdtwo", "\ufffd")


@given(st.lists(ANY_NAME, min_size=1, max_size=6, unique=True), ANY_NAME)
def test_any_names_are_written_as_graphml_one_node_each(names: list[str], namespace: str) -> None:
    made = graph(*(edge("web", name) for name in names), namespaces={names[0]: namespace})
    read = nx.parse_graphml(made.to_graphml())
    assert (len(read), read.number_of_edges()) == (len({"web", *names}), len(names))
    assert {name for name in names if name.isprintable()} <= set(read)


def test_mermaid_has_a_node_a_line_and_an_edge_a_line() -> None:
    made = graph(edge("external", "web", 2000, errors=100), edge("web", "db", 60, callee_kind="database"))
    assert made.to_mermaid().splitlines() == [
        "flowchart LR",
        '  n0[("db")]',
        '  n1(("external"))',
        '  n2("web")',
        '  n1 -->|"200/s, 5.0% errors"| n2',
        '  n2 -->|"6/s"| n0',
    ]


def test_mermaid_has_no_label_where_the_calls_are_unknown() -> None:
    lines = from_a_file(("web", "cart", 0), ("web", "db", 1200)).to_mermaid().splitlines()
    assert lines[-2:] == ['  n2 -->|"1,200 calls"| n1', "  n2 --> n0"]


@pytest.mark.parametrize(
    "name", ["it's", "a#b", "#35;", "#quot;", "&amp;", "<b>", 'say "no"', "`code`", "%%{x}%%", "a|b"]
)
def test_mermaid_shows_the_name_as_it_is(name: str) -> None:
    (line,) = [line for line in graph(edge("web", name)).to_mermaid().splitlines() if line.startswith("  n0(")]
    assert shown_by_mermaid(line.removeprefix('  n0("').removesuffix('")')) == name


@given(ANY_NAME)
def test_mermaid_labels_hold_nothing_but_text_and_entity_codes(name: str) -> None:
    lines = graph(edge("\U0010ffff web", "cart"), edge("cart", f"0{name}")).to_mermaid().split("\n")
    assert (lines[0], len(lines)) == ("flowchart LR", 7)
    label = lines[1].removeprefix('  n0("').removesuffix('")')
    assert lines[1] == f'  n0("{label}")'
    assert shown_by_mermaid(label) == "0" + "".join(
        c if c.isprintable() else " " if c in "\t\n" else "\ufffd" for c in name
    )


@pytest.mark.parametrize(
    ("rate", "ratio", "label"), [(0.5, 0.0, "0.5/s"), (123.4, 0.25, "123/s, 25.0% errors"), (12_345.6, 0.0, "12,346/s")]
)
def test_label_of_an_edge_is_its_rate_and_errors(rate: float, ratio: float, label: str) -> None:
    assert edge_label({"rate_per_s": rate, "error_ratio": ratio, "count": 1}) == label


def field(name: str, kind: str, **config: object) -> dict[str, object]:
    frame = {"string": "string", "number": "float64"}[kind]
    return {"name": name, "type": kind, "typeInfo": {"frame": frame, "nullable": True}, "config": config}


def test_grafana_gets_two_data_frames() -> None:
    def circle(name: str, shown: str, colour: str) -> dict[str, object]:
        return field(name, "number", displayName=shown, color={"mode": "fixed", "fixedColor": colour})

    made = graph(
        edge("external", "web", 100, errors=25, server_duration=histogram({0.02: 100})),
        edge("web", "db", 10, callee_kind="database", client_duration=histogram({0.002: 10})),
        namespaces={"web": "shop"},
    )
    rate = {"displayName": "Calls a second", "unit": "calls/s"}
    p95, p50 = ({"displayName": shown, "unit": "ms"} for shown in ("95th percentile", "Median"))
    counts = [
        field("detail__calls", "number", displayName="Calls seen"),
        field("detail__errors", "number", displayName="Failed calls seen"),
        field("detail__error_ratio", "number", displayName="Share of errors", unit="percentunit"),
    ]
    two, twenty = pytest.approx(2.0, rel=0.03), pytest.approx(20.0, rel=0.03)
    meta = {"preferredVisualisationType": "nodeGraph"}
    assert made.to_grafana() == [
        {
            "schema": {
                "name": "nodes",
                "meta": meta,
                "fields": [
                    field("id", "string"),
                    field("title", "string"),
                    field("subtitle", "string"),
                    field("mainstat", "number", **rate),
                    field("secondarystat", "number", **p95),
                    circle("arc__success", "Succeeded", "green"),
                    circle("arc__errors", "Failed", "red"),
                    circle("arc__unknown", "Unknown", "gray"),
                    field("detail__kind", "string", displayName="Kind"),
                    field("detail__namespace", "string", displayName="Namespace"),
                    *counts,
                    field("detail__p50", "number", **p50),
                ],
            },
            "data": {
                "values": [
                    ["db", "external", "web"],
                    ["db", "external", "web"],
                    ["database", "entry", "shop"],
                    [1.0, None, 10.0],
                    [two, None, twenty],
                    [1.0, 0.0, 0.75],
                    [0.0, 0.0, 0.25],
                    [0.0, 1.0, 0.0],
                    ["database", "entry", "service"],
                    [None, None, "shop"],
                    [10, None, 100],
                    [0, None, 25],
                    [0.0, None, 0.25],
                    [two, None, twenty],
                ]
            },
        },
        {
            "schema": {
                "name": "edges",
                "meta": meta,
                "fields": [
                    field("id", "string"),
                    field("source", "string"),
                    field("target", "string"),
                    field("mainstat", "number", **rate),
                    field("secondarystat", "number", **p95),
                    field("thickness", "number", displayName="Thickness"),
                    field("color", "string"),
                    field("detail__kind", "string", displayName="Kind"),
                    *counts,
                    field("detail__p50", "number", **p50),
                    field("detail__queue_p50", "number", displayName="Median time in the queue", unit="ms"),
                ],
            },
            "data": {
                "values": [
                    ['["external", "web"]', '["web", "db"]'],
                    ["external", "web"],
                    ["web", "db"],
                    [10.0, 1.0],
                    [twenty, two],
                    [4.0, 3.0],
                    ["red", "#999"],
                    ["entry", "database"],
                    [100, 10],
                    [25, 0],
                    [0.25, 0.0],
                    [twenty, two],
                    [None, None],
                ]
            },
        },
    ]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abcd"), st.integers(1, 9)), max_size=6))
def test_circles_of_grafana_add_up_to_one(calls: list[tuple[str, str, int]]) -> None:
    nodes, _ = graph(*(edge(u, v, 9, errors=n) for u, v, n in calls)).to_grafana()
    values = dict(zip((f["name"] for f in nodes["schema"]["fields"]), nodes["data"]["values"], strict=True))
    arcs = zip(*(values[name] for name in values if name.startswith("arc__")), strict=True)
    assert all(sum(shares) == pytest.approx(1) and min(shares) >= 0 for shares in arcs)


def test_frames_of_a_graph_without_times_or_calls_hold_unknowns() -> None:
    nodes, edges = from_a_file(("web", "cart", 0)).to_grafana()
    assert [nodes["data"]["values"][i] for i in (3, 5, 6, 7)] == [[None] * 2, [0.0] * 2, [0.0] * 2, [1.0] * 2]
    assert [values[0] for values in edges["data"]["values"][3:7]] == [None, None, 1.0, "#999"]
    assert [frame["data"]["values"][0] for frame in graph().to_grafana()] == [[], []]
