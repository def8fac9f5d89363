"""Histograms: each bucket is exact, quantiles are within the stated error."""

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hypocenter.graph.histogram import RELATIVE_ERROR, Bin, bucket, buckets, middle, quantile, upper_bounds

values = st.integers(0, 62).flatmap(lambda bits: st.integers(-(2**bits), 2**bits))


@settings(deadline=None)
@given(st.integers(1, 2**63 - 1))
@example(1)
@example(2**63 - 1)
def test_bucket_holds_exactly_the_values_up_to_its_bound(value: int) -> None:
    # b - 2 is OpenTelemetry's index: 2^((b-2)/16) < value <= 2^((b-1)/16), compared as 16th powers.
    b = bucket(value)
    assert value**16 <= 2 ** (b - 1)
    assert b == 1 or 2 ** (b - 2) < value**16


def test_buckets_are_exact_around_every_bound() -> None:
    around = sorted({bound + step for bound in upper_bounds() for step in (-1, 0, 1)} - {0} | {2**63 - 1})
    found = buckets(np.array(around)).tolist()
    assert [value**16 <= 2 ** (b - 1) for value, b in zip(around, found, strict=True)] == [True] * len(around)
    assert [b == 1 or 2 ** (b - 2) < v**16 for v, b in zip(around, found, strict=True)] == [True] * len(around)


def test_zero_and_negatives_have_buckets_of_their_own() -> None:
    assert [bucket(value) for value in (-1000, -1, 0, 1, 1000)] == [-bucket(1000), -1, 0, 1, bucket(1000)]


@settings(deadline=None)
@given(values, values)
def test_buckets_keep_the_order_of_values(first: int, second: int) -> None:
    low, high = sorted((first, second))
    assert bucket(low) <= bucket(high)


@settings(deadline=None)
@given(values)
def test_middle_is_within_the_stated_error(value: int) -> None:
    assert abs(float(middle(np.array(bucket(value)))) - value) <= RELATIVE_ERROR * 1.000001 * abs(value)


def to_histogram(numbers: list[int]) -> list[Bin]:
    buckets, counts = np.unique([bucket(n) for n in numbers], return_counts=True)
    return [{"bucket": int(b), "count": int(c)} for b, c in zip(buckets, counts, strict=True)]


@settings(deadline=None)
@given(st.lists(values, min_size=1), st.floats(0, 1))
def test_quantile_is_within_the_stated_error_of_the_nearest_rank(numbers: list[int], q: float) -> None:
    exact = sorted(numbers)[max(1, int(np.ceil(q * len(numbers)))) - 1]
    found = quantile(to_histogram(numbers), q)
    assert found is not None
    assert abs(found - exact) <= RELATIVE_ERROR * 1.000001 * abs(exact)


def test_quantile_of_nothing_is_unknown() -> None:
    assert quantile([], 0.5) is None
