"""The metrics that we write: their text, and what our own reader and our own reading of such metrics make of it."""

import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rollup_tables import edge, histogram, rollups

from hypocenter.graph.from_metrics import roll_up_metrics
from hypocenter.graph.histogram import quantile, total
from hypocenter.graph.metrics_text import to_openmetrics
from hypocenter.graph.rollup import STEP_NS
from hypocenter.tracer.batch import concat
from hypocenter.tracer.readers import prometheus_text
from hypocenter.tracer.source import Source, decompressed
from hypocenter.tracer.window import MINUTE_NS, SECOND_NS, Window

START_S = 1_700_000_040  # a whole minute
HOUR = Window(START_S * SECOND_NS, (START_S + 3600) * SECOND_NS)


def read_back(text: str, window: Window) -> list[dict[str, Any]]:
    """Return the rows of the edge rollup that the text tells."""
    batch = concat(prometheus_text.read(Source("m.txt", decompressed(io.BytesIO(text.encode())))))
    assert batch.tally.dropped == {}
    return roll_up_metrics(batch.table("series"), batch.table("points"), window).edges.to_pylist()


def samples(text: str, part: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(part)]


def test_counters_are_cumulative_by_minute_from_a_zero_before_the_window() -> None:
    given_ = rollups(
        edge("web", "cart", 3, at_s=START_S, errors=1), edge("web", "cart", 4, at_s=START_S + 70, errors=0)
    )
    text = to_openmetrics(given_, Window(HOUR.start_ns, HOUR.start_ns + 2 * MINUTE_NS))
    ends = '{client="web",server="cart",connection_type=""}'
    assert text.splitlines() == [
        "# TYPE traces_service_graph_request counter",
        "# HELP traces_service_graph_request Calls between two nodes.",
        f"traces_service_graph_request_total{ends} 0 1700000039.999",
        f"traces_service_graph_request_total{ends} 3 1700000099.999",
        f"traces_service_graph_request_total{ends} 7 1700000159.999",
        "# TYPE traces_service_graph_request_failed counter",
        "# HELP traces_service_graph_request_failed Calls that failed on either side.",
        f"traces_service_graph_request_failed_total{ends} 0 1700000039.999",
        f"traces_service_graph_request_failed_total{ends} 1 1700000099.999",
        f"traces_service_graph_request_failed_total{ends} 1 1700000159.999",
        "# TYPE traces_service_graph_request_server_seconds histogram",
        "# UNIT traces_service_graph_request_server_seconds seconds",
        "# HELP traces_service_graph_request_server_seconds Duration as the callee saw it.",
        "# TYPE traces_service_graph_request_client_seconds histogram",
        "# UNIT traces_service_graph_request_client_seconds seconds",
        "# HELP traces_service_graph_request_client_seconds Duration as the caller saw it.",
        "# TYPE traces_service_graph_request_messaging_system_seconds histogram",
        "# UNIT traces_service_graph_request_messaging_system_seconds seconds",
        "# HELP traces_service_graph_request_messaging_system_seconds Time that messages spent in the broker.",
        "# EOF",
    ]


def test_a_histogram_counts_what_lies_below_powers_of_two_nanoseconds() -> None:
    durations = histogram({0.0001: 2, 0.001: 5, 0.0011: 1, 100: 1})
    text = to_openmetrics(
        rollups(edge("web", "cart", 9, at_s=START_S, server_duration=durations)),
        Window(HOUR.start_ns, HOUR.start_ns + MINUTE_NS),
    )
    name = "traces_service_graph_request_server_seconds"
    at_end = [line for line in samples(text, name) if line.endswith(" 1700000099.999")]
    counts = {line.partition('le="')[2].partition('"')[0]: int(line.split()[-2]) for line in at_end[:-2]}
    assert len(counts) == 21
    assert (counts["0.000131072"], counts["0.000524288"], counts["0.001048576"], counts["0.002097152"]) == (2, 2, 7, 8)
    assert (counts["68.719476736"], counts["+Inf"]) == (8, 9)
    assert at_end[-2].split()[-2] == "9"
    assert float(at_end[-1].split()[-2]) == pytest.approx(100.0063, rel=0.022)
    assert samples(text, name.replace("server", "client")) == []


def test_ends_are_named_and_typed_as_tempo_does() -> None:
    given_ = rollups(
        edge("external", "web"),
        edge("web", "db", callee_kind="database"),
        edge("web", "redis", callee_kind="cache"),
        edge("web", "stripe", callee_kind="external"),
        edge("web", "orders", callee_kind="messaging"),
        edge("orders", "mailer", caller_kind="messaging"),
    )
    text = to_openmetrics(given_, Window(0, MINUTE_NS))
    found = [line.partition("{")[2].partition("}")[0] for line in samples(text, "traces_service_graph_request_total")]
    assert sorted(set(found)) == [
        'client="orders",server="mailer",connection_type="messaging_system"',
        'client="user",server="web",connection_type="virtual_node",virtual_node="client"',
        'client="web",server="db",connection_type="database"',
        'client="web",server="orders",connection_type="messaging_system"',
        'client="web",server="redis",connection_type="database"',
        'client="web",server="stripe",connection_type="virtual_node",virtual_node="server"',
    ]


@pytest.mark.parametrize("name", ['a"b', "a\\b", "a\nb", "%s", "{x}", "déjà"])
def test_any_name_is_read_back(name: str) -> None:
    (row,) = read_back(to_openmetrics(rollups(edge(name, "cart", at_s=START_S)), HOUR), HOUR)
    assert (row["caller"], row["callee"], row["count"]) == (name, "cart", 10)


def test_steps_are_whole_multiples_of_ten_seconds() -> None:
    with pytest.raises(ValueError, match="multiple of 10000000000 ns, got 15"):
        to_openmetrics(rollups(), HOUR, 15)


def test_edges_outside_the_window_are_left_out() -> None:
    assert read_back(to_openmetrics(rollups(edge("web", "cart", at_s=START_S - 10)), HOUR), HOUR) == []


edges = st.lists(
    st.builds(
        lambda caller, callee, at, count, errors, took: edge(
            caller,
            callee,
            count,
            at_s=START_S + at * 10,
            errors=min(errors, count),
            server_duration=histogram({took: count}),
        ),
        st.sampled_from(["web", "cart", "external"]),
        st.sampled_from(["pay", "db"]),
        st.integers(0, 30),
        st.integers(1, 1000),
        st.integers(0, 1000),
        st.floats(0.0002, 60),
    ),
    unique_by=lambda row: (row["time_ns"], row["caller"], row["callee"]),
    min_size=1,
    max_size=12,
)


@given(edges)
def test_what_is_written_is_read_back_step_by_step(rows: list[dict[str, Any]]) -> None:
    window = Window(HOUR.start_ns, HOUR.start_ns + 310 * SECOND_NS)
    found = read_back(to_openmetrics(rollups(*rows), window, STEP_NS), window)
    columns = ("time_ns", "caller", "caller_kind", "callee", "callee_kind", "count", "errors")
    key = [tuple(row[name] for name in columns) for row in found]
    assert key == sorted(tuple(row[name] for name in columns) for row in rows)
    given_ = {(row["time_ns"], row["caller"], row["callee"]): row["server_duration"] for row in rows}
    for row in found:
        took = given_[row["time_ns"], row["caller"], row["callee"]]
        assert total(row["server_duration"]) == total(took)
        # An octave is told by its middle.
        assert quantile(row["server_duration"], 0.5) == pytest.approx(quantile(took, 0.5), rel=0.5)


def test_time_in_the_broker_comes_back_as_a_queue() -> None:
    waited = edge("orders", "mail", 2, at_s=START_S, caller_kind="messaging", queue=histogram({0.3: 2}))
    text = to_openmetrics(rollups(waited), HOUR)
    name = "traces_service_graph_request_messaging_system_seconds_count"
    assert f'{name}{{client="orders",server="mail",connection_type="messaging_system"}} 2' in text
    (found,) = read_back(text, HOUR)
    assert total(found["queue"]) == 2
