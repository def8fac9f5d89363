"""Native histograms in text: what is none is told as such, never raised."""

import json

import pytest

from hypocenter.tracer.native_histogram import to_json

WHOLE = (
    "{{count:7,sum:3.5,schema:{schema},zero_threshold:0,zero_count:1,"
    "positive_spans:[{offset}:2],positive_deltas:[2,2]}}"
)


@pytest.mark.parametrize("offset", [-(2**31), -3, 0, 2**31 - 1])
def test_first_bucket_is_numbered_one_less_than_in_prometheus(offset: int) -> None:
    told = json.loads(to_json(WHOLE.format(schema=0, offset=offset)) or "null")
    assert told["positive"] == {"offset": offset - 1, "bucket_counts": [2, 4]}


@pytest.mark.parametrize(("schema", "offset"), [(0, 10**25), (0, 2**31), (0, -(2**31) - 1), (9, 0), (-5, 0)])
def test_buckets_and_scales_beyond_the_protocol_are_no_histogram(schema: int, offset: int) -> None:
    assert to_json(WHOLE.format(schema=schema, offset=offset)) is None
