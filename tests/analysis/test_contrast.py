"""What spans of a region have in common: shares by hand, and what tells nothing is left out."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from hypocenter.analysis.contrast import COLUMNS, READ, contrast, counting
from hypocenter.graph.queries import connect
from hypocenter.tracer.schema import SPANS

MAPS = pa.map_(pa.string(), pa.string())


def contrasted(*attributes: dict[str, str] | None, inside: str = "duration_ns < 2", **columns: list[Any]) -> Any:
    """Return the contrast of spans of 0, 1, 2, ... ns."""
    held = pa.array([None if a is None else list(a.items()) for a in attributes], MAPS)
    rows = pa.table({name: columns.get(name, pa.nulls(len(held), SPANS.field(name).type)) for name in READ})
    took = pa.array(range(len(held)), pa.int64())
    rows = rows.set_column(rows.schema.get_field_index("attributes"), "attributes", held).append_column(
        "duration_ns", took
    )
    with connect() as database:
        database.register("rows", rows)
        within, whole = database.sql(f"SELECT count(*) FILTER ({inside}), count(*) FROM rows").fetchall()[0]
        return contrast(database.sql(counting(inside)).to_arrow_table(), (within, whole - within))


def test_shares_of_both_sides_are_told_the_most_different_first() -> None:
    a, b = {"db": '"a"', "user": "1"}, {"db": '"b"', "user": "1"}
    found = contrasted(a, a, b, b, a, service=["web"] * 5)
    assert found[["attribute", "value", "inside", "outside"]].values.tolist() == [
        ["db", "a", 1.0, pytest.approx(1 / 3)],
        ["db", "b", 0.0, pytest.approx(2 / 3)],
    ]
    # (1 - 1/3) / sqrt(0.6 * 0.4 * (1/2 + 1/3)) by hand
    assert found.z[0] == pytest.approx((2 / 3) / (0.6 * 0.4 * (1 / 2 + 1 / 3)) ** 0.5)
    assert found.difference.tolist() == [pytest.approx(2 / 3), pytest.approx(-2 / 3)]


def test_spans_without_attributes_and_values_of_one_span_alone_tell_nothing() -> None:
    found = contrasted({"id": "1"}, {"id": "2"}, None, {}, {"id": "3"})
    assert found.empty


def test_a_span_that_tells_a_value_twice_counts_once() -> None:
    pod = {"pod": '"p-1"'}
    found = contrasted(pod, pod, pod, {"pod": '"p-2"'}, None, pod=["p-1", "p-1", None, "p-2", "p-2"])
    assert found[["attribute", "value", "n_inside", "n_outside"]].values.tolist() == [
        ["pod", "p-1", 2, 1],
        ["pod", "p-2", 0, 2],
    ]


def test_an_empty_side_has_nothing_to_compare() -> None:
    for inside in ("true", "false"):
        found = contrasted(*[{"a": "1"}] * 5, inside=inside)
        assert list(found.columns) == COLUMNS
        assert found.empty
