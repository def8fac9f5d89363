"""Log templates by step: every line is counted once, joined to the span that wrote it, and hours are kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypocenter.graph import log_rollup as module
from hypocenter.graph.log_rollup import LOG_TEMPLATES, log_rollup
from hypocenter.tracer.batch import Batch
from hypocenter.tracer.schema import LOGS, SPANS
from hypocenter.tracer.store import Store
from hypocenter.tracer.window import HOUR_NS, SECOND_NS, Window

T = 472_222 * HOUR_NS
DAY = Window(T, T + 24 * HOUR_NS)


def logs(*rows: tuple[float, str, str | None, str | None, int]) -> pa.Table:
    """Return records of (second, body, service, span id, severity)."""
    return pa.Table.from_pylist(
        [
            {
                "time_ns": T + round(second * SECOND_NS),
                "body": body,
                "service": service,
                "trace_id": span and "ab" * 16,
                "span_id": span,
                "severity": severity,
                "source": "test",
            }
            for second, body, service, span, severity in rows
        ],
        LOGS,
    )


def span(span_id: str, name: str, second: float = 0) -> dict[str, Any]:
    return {
        "trace_id": "ab" * 16,
        "span_id": span_id,
        "name": name,
        "kind": 2,
        "status": 0,
        "start_ns": T + round(second * SECOND_NS),
        "duration_ns": 1,
        "adjusted_milli": 1000,
        "source": "test",
    }


def store_of(path: Path, *batches: Batch) -> Store:
    store = Store(path / "store", create=True)
    for batch in batches:
        store.append(batch)
    return store


def test_lines_are_counted_by_step_operation_severity_and_template(tmp_path: Path) -> None:
    spans = pa.Table.from_pylist([span("11" * 8, "GET /cart"), span("11" * 8, "GET /cart")], SPANS)
    table = logs(
        (1, "added item 17", "cart", "11" * 8, 9),
        (9, "added item 18", "cart", "11" * 8, 9),
        (11, "added item 19", "cart", "11" * 8, 9),
        (12, "added item 20", "cart", "22" * 8, 9),
        (13, "connection lost", "cart", None, 17),
        (14, "panic: no such thing", None, None, 0),
    )
    found = log_rollup(store_of(tmp_path, Batch({"logs": table, "spans": spans})), DAY)
    assert found.schema == LOG_TEMPLATES
    told = [(row.pop("time_ns") // SECOND_NS - T // SECOND_NS, *row.values()) for row in found.to_pylist()]
    assert told == [
        (0, "cart", "GET /cart", 9, "added item", 2, 0, 2),
        (10, "cart", "GET /cart", 9, "added item", 1, 0, 1),
        (10, "cart", None, 9, "added item", 1, 0, 1),
        (10, "cart", None, 17, "connection lost", 1, 1, 0),
        (10, None, None, 0, "panic no such thing", 1, 1, 0),
    ]


@settings(max_examples=12)
@given(
    st.lists(
        st.tuples(
            st.floats(0, 8_000),
            st.sampled_from(["a 1", "b error", "", "c"]),
            st.sampled_from([None, "x", "y"]),
            st.sampled_from([None, "11" * 8, "33" * 8]),
            st.integers(0, 24),
        ),
        min_size=1,
        max_size=30,
    )
)
def test_every_line_is_counted_once(tmp_path_factory: pytest.TempPathFactory, rows: list[Any]) -> None:
    spans = pa.Table.from_pylist([span("11" * 8, "op"), span("33" * 8, "other", 7_000)], SPANS)
    store = store_of(tmp_path_factory.mktemp("logs"), Batch({"logs": logs(*rows), "spans": spans}))
    found = log_rollup(store, DAY)
    assert sum(found["count"].to_pylist()) == len(rows)
    assert sum(found["with_trace"].to_pylist()) == sum(row[3] is not None for row in rows)
    assert found.equals(log_rollup(store, DAY))


def test_an_hour_that_is_over_is_kept_until_its_logs_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = store_of(tmp_path, Batch({"logs": logs((1, "one", "a", None, 9), (4_000, "two", "a", None, 9))}))
    made: list[Window] = []
    roll_up = module.roll_up_logs
    monkeypatch.setattr(module, "roll_up_logs", lambda store, hour: (made.append(hour), roll_up(store, hour))[1])
    first, second = Window(T, T + HOUR_NS), Window(T + HOUR_NS, T + 2 * HOUR_NS)
    assert log_rollup(store, DAY).equals(log_rollup(store, DAY))
    assert made == [first, second, second]
    store.append(Batch({"logs": logs((2, "late", "a", None, 9))}))
    assert log_rollup(store, first)["template"].to_pylist() == ["late", "one"]
    assert made[3:] == [first]
    assert len(list((store.path / "log-rollups").rglob("*.parquet"))) == 1


def test_rare_templates_of_free_text_are_counted_together(tmp_path: Path) -> None:
    words = [f"{a}{b} word" for a in "abcdefghijklmnopqrstuvwxyz" for b in "abcdefghijklmnopqrstuvwxyz"]
    rows: list[Any] = [(1, word, "a", None, 9) for word in words] + [(2, "often word", "a", None, 9)] * 3
    found = log_rollup(store_of(tmp_path, Batch({"logs": logs(*rows)})), DAY)
    counts = dict(zip(found["template"].to_pylist(), found["count"].to_pylist(), strict=True))
    assert counts["often word"] == 3 and len(counts) == module.TEMPLATES_KEPT + 1
    assert counts[module.OTHER] == len(words) - module.TEMPLATES_KEPT + 1
