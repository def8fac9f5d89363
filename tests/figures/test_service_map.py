"""The service map: everything is drawn once, positions are stable, and hostile names stay text."""

from typing import Any

import networkx as nx
import numpy as np
import pytest
from generated_system import system
from rollup_tables import edge, graph, histogram

from hypocenter.errors import GraphError
from hypocenter.figures import service_map
from hypocenter.figures.look import INK
from hypocenter.figures.map_layout import layered
from hypocenter.figures.map_names import fitting
from hypocenter.graph.dependency_graph import DependencyGraph


def shop(*more: dict[str, Any], **options: Any) -> DependencyGraph:
    return graph(
        edge("external", "web", 100),
        edge("web", "cart", 60, errors=30, client_duration=histogram({0.3: 60})),
        edge("web", "orders", 40),
        edge("cart", "redis", 60, callee_kind="cache"),
        edge("orders", "db", 80, callee_kind="database"),
        edge("db", "web", 1),
        *more,
        **options,
    )


def positions(figure: Any) -> dict[str, list[float]]:
    return figure.layout.meta["positions"]


def drawn_names(figure: Any) -> list[str]:
    return [text for trace in figure.data if trace.mode == "markers+text" for text in trace.text]


def calls_of(edges: list[tuple[str, str]]) -> "nx.DiGraph[str]":
    return nx.DiGraph(edges)


def test_depth_of_call_grows_to_the_right_and_the_entry_stands_left() -> None:
    x = {name: point[0] for name, point in positions(service_map(shop())).items()}
    assert x["external"] < x["web"] < x["cart"] == x["orders"] < x["redis"] == x["db"]


def test_one_graph_has_one_picture() -> None:
    assert service_map(shop()).to_json() == service_map(shop()).to_json()


def test_known_nodes_keep_their_order_when_others_join() -> None:
    rng = np.random.default_rng(3)
    edges = [("external", f"a{i}") for i in range(6)] + [(f"a{rng.integers(6)}", f"b{i}") for i in range(12)]
    first = layered(calls_of(edges)).positions
    grown = edges + [(f"a{i}", f"b{(i * 5) % 12}") for i in range(6)] + [("a0", "new")]
    second = layered(calls_of(grown), anchors=first).positions
    order = sorted((n for n in first if n[0] == "b"), key=lambda n: first[n][1])
    assert sorted(order, key=lambda n: second[n][1]) == order


def test_a_tree_is_drawn_without_crossings() -> None:
    edges = [("r", f"a{i}") for i in range(5)] + [(f"a{(i * 3) % 5}", f"b{i}") for i in range(15)]
    places = layered(calls_of(edges)).positions
    lines = [(places[u][1], places[v][1]) for u, v in edges if v[0] == "b"]
    crossings = sum((a - c) * (b - d) < 0 for a, b in lines for c, d in lines)
    assert crossings == 0


def test_no_two_nodes_share_a_place() -> None:
    rng = np.random.default_rng(5)
    edges = [(f"n{rng.integers(max(1, i // 2))}", f"n{i}") for i in range(1, 300)] + [("n290", "n0")]
    groups = {f"n{i}": f"g{i % 7}" for i in range(300)}
    for made in (layered(calls_of(edges)), layered(calls_of(edges), groups)):
        rounded = {(round(x, 3), round(y, 3)) for x, y in made.positions.values()}
        assert len(rounded) == 300


def test_groups_stand_in_lanes_of_their_own() -> None:
    groups = {"web": "front", "cart": "back", "orders": "back"}
    made = layered(calls_of([("web", "cart"), ("web", "orders"), ("orders", "db")]), groups)
    bands = {lane.name: (lane.low, lane.high) for lane in made.lanes}
    inside = {
        n: next(k for k, (low, high) in bands.items() if low <= y <= high) for n, (_, y) in made.positions.items()
    }
    assert inside == groups | {"db": "back"}


def test_groups_of_one_node_have_no_lanes() -> None:
    calls = edge("web", "cart"), edge("cart", "orders")
    for groups, lanes in (("abc", 0), ("abb", 2), ("aaa", 0)):
        made = graph(*calls, namespaces=dict(zip(("web", "cart", "orders"), groups, strict=True)))
        figure = service_map(made)
        low, high = figure.layout.yaxis.range
        assert len(figure.layout.shapes) == lanes
        assert all(low <= shape.y0 < shape.y1 <= high for shape in figure.layout.shapes)
        assert all(low < note.y <= high for note in figure.layout.annotations)


def test_latency_of_what_measures_nothing_is_its_callers() -> None:
    slow = edge("web", "db", callee_kind="database", client_duration=histogram({0.5: 10}))
    figure = service_map(graph(edge("external", "web"), slow), colour="latency")
    (marks,) = [
        trace for trace in figure.data if trace.mode == "markers" and trace.text is not None and "db" in str(trace.text)
    ][:1]
    colours = dict(zip([text.split("<b>")[1].split("</b>")[0] for text in marks.text], marks.marker.color, strict=True))
    assert (colours["db"], colours["web"]) == ("#2c5fa8", "#a79db0")


def test_what_most_calls_show_does_not_cover_the_rest() -> None:
    def opacity(failing: int) -> float:
        failed = [edge("web", f"s{number}", errors=10) for number in range(failing)]
        lines = [trace for trace in service_map(graph(*failed)).data if trace.mode == "lines+markers"]
        return min(trace.opacity for trace in lines)

    assert (opacity(10), opacity(1000)) == (0.9, 0.4)


@pytest.mark.parametrize("edges", [[], [("a", "a")], [("a", "b"), ("b", "a")], [("a", "b"), ("b", "c"), ("c", "a")]])
def test_odd_graphs_are_drawn(edges: list[tuple[str, str]]) -> None:
    made = graph(*(edge(u, v) for u, v in edges))
    assert set(positions(service_map(made))) == {n for ends in edges for n in ends}


def test_every_edge_has_one_line_with_one_arrow() -> None:
    lines = [trace for trace in service_map(shop()).data if trace.mode == "lines+markers"]
    assert sum(list(trace.x).count(None) for trace in lines) == 6
    assert sum(sum(size > 0 for size in trace.marker.size) for trace in lines) == 6


def test_colour_says_errors_or_latency() -> None:
    by_errors = {trace.line.color for trace in service_map(shop()).data if trace.mode == "lines+markers"}
    by_latency = {
        trace.line.color for trace in service_map(shop(), colour="latency").data if trace.mode == "lines+markers"
    }
    assert by_errors == {"#93a2b1", "#7f2704"}
    assert by_latency == {"#2c5fa8", "#a79db0"}


def test_way_from_symptom_to_origin_is_bold_and_named() -> None:
    figure = service_map(shop(), highlight=["redis"], symptom="web")
    (bold,) = [t for t in figure.data if t.mode == "lines+markers" and t.line.width == 4 and t.line.color == INK]
    assert list(bold.x).count(None) == 2
    assert "<b>likely origin<br>redis</b>" in drawn_names(figure)
    assert "<b>symptom<br>web</b>" in drawn_names(figure)


@pytest.mark.parametrize(("way", "steps"), [(["db", "cart", "web"], 2), (["db", "redis", "web"], 1), ([], 1)])
def test_a_way_that_is_known_and_there_is_drawn_in_place_of_the_shortest(way: list[str], steps: int) -> None:
    longer = shop(edge("cart", "db", 5, callee_kind="database"), edge("web", "db", 5, callee_kind="database"))
    figure = service_map(longer, highlight=["db"], symptom="web", way=way)
    (bold,) = [t for t in figure.data if t.mode == "lines+markers" and t.line.width == 4 and t.line.color == INK]
    assert list(bold.x).count(None) == steps


def test_focus_shows_only_the_neighbourhood() -> None:
    assert set(positions(service_map(shop(), focus="cart", hops=1))) == {"web", "cart", "redis"}


@pytest.mark.parametrize(
    ("towards", "hops", "nodes"),
    [
        ("callers", 1, {"cart", "web"}),
        ("callers", 2, {"cart", "web", "external", "db"}),
        ("callees", 1, {"cart", "redis"}),
        ("both", 1, {"cart", "web", "redis"}),
    ],
)
def test_focus_may_look_one_way(towards: str, hops: int, nodes: set[str]) -> None:
    assert set(positions(service_map(shop(), focus="cart", hops=hops, towards=towards))) == nodes


def test_rare_calls_and_what_they_alone_lead_to_are_left_out_but_what_is_named_stays() -> None:
    rare = shop(edge("cart", "audit", 1))
    everything = set(positions(service_map(rare)))
    assert set(positions(service_map(rare, least_share=0.02))) == everything - {"audit"}
    assert set(positions(service_map(rare, least_share=0.02, highlight=["audit"]))) == everything


def test_services_without_calls_stand_alone() -> None:
    assert "nightly" in positions(service_map(shop(namespaces={"nightly": "jobs"})))


def test_unknown_names_and_colours_are_refused() -> None:
    with pytest.raises(GraphError, match="nope"):
        service_map(shop(), highlight=["nope"])
    with pytest.raises(ValueError, match="errors, latency"):
        service_map(shop(), colour="size")
    with pytest.raises(ValueError, match="both, callers, callees"):
        service_map(shop(), focus="cart", towards="left")


def test_markup_in_names_is_shown_as_text() -> None:
    name = "<script>alert(1)</script>"
    made = service_map(
        graph(edge("web", name), namespaces={"web": "<b>", name: "<i>"}), highlight=[name], symptom="web"
    )
    page = made.to_html(include_plotlyjs=False)
    assert "<script>alert" not in page
    shown = [text for trace in made.data for text in (trace.text or ())] + [a.text for a in made.layout.annotations]
    assert [text for text in shown if "<script" in text or "<i>" in text] == []
    assert "<b>likely origin<br>&lt;script&gt;alert(1)&lt;/script&gt;</b>" in shown


def test_a_name_gives_way_to_more_important_ones_and_to_nodes() -> None:
    centres = np.array([[100.0, 50], [100, 38], [100, 26], [3, 80]])
    sides = fitting(centres, [4.0] * 4, ["service-name"] * 4, [10.0] * 4, 300, most=9)
    assert sides == ["top center", "middle right", "bottom center", "middle right"]


def test_a_name_gives_way_to_what_is_written_there_already() -> None:
    centres, taken = np.array([[100.0, 50]]), np.array([[60.0, 30, 140, 44]])
    assert fitting(centres, [4.0], ["service-name"], [10.0], 300, most=1, taken=taken) == ["top center"]


def test_no_more_names_than_asked_are_placed() -> None:
    centres = np.array([[100.0, 50 * i] for i in range(5)])
    sides = fitting(centres, [4.0] * 5, ["service-name"] * 5, [10.0] * 5, 300, most=2)
    assert sides == ["bottom center", "bottom center", None, None, None]


def test_a_thousand_services_keep_to_a_hundred_names() -> None:
    made = graph(*(edge(f"svc-{i // 3}", f"svc-{i}", 1 + i % 50) for i in range(1, 1000)))
    figure = service_map(made)
    assert len(positions(figure)) == 1000
    assert len(drawn_names(figure)) <= 110


@pytest.mark.parametrize("services", [100, 1000])
def test_the_pointer_finds_each_node_and_each_call_apart(services: int) -> None:
    figure = service_map(system(services))
    x, y = figure.layout.xaxis.range, figure.layout.yaxis.range
    scale = np.array([1360 / (x[1] - x[0]), (figure.layout.height - 106) / (y[1] - y[0])])
    found = [trace for trace in figure.data if trace.hovertemplate]
    nodes, calls = (np.column_stack([trace.x, trace.y]) * scale for trace in found)
    assert (len(nodes), len(calls)) == (len(positions(figure)), len(system(services).edges))
    radii = np.array(found[0].marker.size) / 2
    away = np.hypot(*(nodes[:, None] - calls).transpose(2, 0, 1)) - radii[:, None]
    # The pointer takes a call within 5 px.
    assert away.min() > 5


def test_a_hundred_services_stay_where_they_were_from_one_snapshot_to_the_next() -> None:
    before, after = system(100), system(100, grown=5)
    first = service_map(before)
    again = service_map(before, positions=positions(first))
    assert positions(again) == positions(first)
    known, later = positions(first), positions(service_map(after, positions=positions(first)))
    assert set(later) - set(known) == {f"new-service-{i}" for i in range(5)}
    swapped = [
        (one, other)
        for one, (x1, y1) in known.items()
        for other, (x2, y2) in known.items()
        if x1 == x2 and later[one][0] == later[other][0] and (y1 - y2) * (later[one][1] - later[other][1]) < 0
    ]
    assert swapped == []


def test_most_names_of_a_hundred_services_are_on_the_map() -> None:
    made = system(100)
    drawn = drawn_names(service_map(made))
    assert len(drawn) > 0.85 * len(made.nodes)
