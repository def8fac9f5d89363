"""What spans of a region have in common: shares by hand, and what tells nothing is left out."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from hypocenter.analysis.contrast import COLUMNS, contrast

MAPS = pa.map_(pa.string(), pa.string())
INSIDE = np.array([True, True, False, False, False])


def table(*attributes: dict[str, str] | None) -> pa.Table:
    held = pa.array([None if a is None else list(a.items()) for a in attributes], MAPS)
    return pa.table({"attributes": held, "service": ["web"] * len(attributes)})


def test_shares_of_both_sides_are_told_the_most_different_first() -> None:
    a, b = {"db": '"a"', "user": "1"}, {"db": '"b"', "user": "1"}
    found = contrast(table(a, a, b, b, a), INSIDE)
    assert found[["attribute", "value", "inside", "outside"]].values.tolist() == [
        ["db", "a", 1.0, pytest.approx(1 / 3)],
        ["db", "b", 0.0, pytest.approx(2 / 3)],
    ]
    # (1 - 1/3) / sqrt(0.6 * 0.4 * (1/2 + 1/3)) by hand
    assert found.z[0] == pytest.approx((2 / 3) / (0.6 * 0.4 * (1 / 2 + 1 / 3)) ** 0.5)
    assert found.difference.tolist() == [pytest.approx(2 / 3), pytest.approx(-2 / 3)]


def test_spans_without_attributes_and_values_of_one_span_alone_tell_nothing() -> None:
    found = contrast(table({"id": "1"}, {"id": "2"}, None, {}, {"id": "3"}), INSIDE)
    assert found.empty


def test_an_empty_side_has_nothing_to_compare() -> None:
    for inside in (np.ones(5, bool), np.zeros(5, bool)):
        assert list(contrast(table(*[{"a": "1"}] * 5), inside).columns) == COLUMNS
        assert contrast(table(*[{"a": "1"}] * 5), inside).empty
