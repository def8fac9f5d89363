"""Native histograms of Prometheus in text, as OTLP's exponential histograms: ``{count:7,sum:3.5,schema:0,...}``.

Prometheus numbers the bucket that ends at 1 as 0, OTLP the one that begins there, so an index becomes one less.
"""

from __future__ import annotations

import math
import re
from typing import Any, Final

import orjson

from .otlp.any_value import plain_double

_FIELD: Final = re.compile(r"\s*([a-z_]+)\s*:\s*(\[[^\[\]]*\]|[^\s,\[\]{}]+)\s*(?:,|$)")
_SCALES: Final = range(-4, 9)
_CUSTOM_BOUNDS: Final = -53
_INDEX: Final = range(-(2**31), 2**31)  # as the protocol numbers buckets
# Gaps between spans are written out; a scrape has some hundred buckets.
_MOST_BUCKETS: Final = 20_000


def to_json(text: str) -> str | None:
    """Return the JSON of a point (`hypocenter.tracer.prometheus_samples`), None where the text is no histogram.

    Counts of buckets may be absolute (``positive_buckets``) or differences (``positive_deltas``).

    >>> to_json("{count:5,sum:7.5,schema:0,positive_spans:[0:1,1:1],positive_deltas:[2,1]}")
    '{"count":5,"sum":7.5,"scale":0,"zero_count":0,"zero_threshold":0.0,"positive":{"offset":-1,"bucket_counts":[2,0,3]}}'
    """
    try:
        fields = _fields(text)
        schema = int(fields["schema"])
        found: dict[str, object] = {"count": _count(fields["count"]), "sum": plain_double(float(fields["sum"]))}
        if schema == _CUSTOM_BOUNDS:
            return orjson.dumps(found | _explicit(fields)).decode()
        if schema not in _SCALES:
            return None
        found |= {"scale": schema, "zero_count": _count(fields.get("zero_count", "0"))}
        found["zero_threshold"] = plain_double(float(fields.get("zero_threshold", "0")))
        for side in ("positive", "negative"):
            first, counts = _buckets(fields, side)
            if counts:
                found[side] = {"offset": first - 1, "bucket_counts": counts}
        return orjson.dumps(found).decode()
    except (KeyError, ValueError, OverflowError):
        return None


def _fields(text: str) -> dict[str, str]:
    inside, position, fields = text.strip()[1:-1], 0, {}
    while position < len(inside):
        pair = _FIELD.match(inside, position)
        if pair is None:
            raise ValueError("expected name:value")
        fields[pair[1]] = pair[2]
        position = pair.end()
    return fields


def _explicit(fields: dict[str, str]) -> dict[str, Any]:
    bounds = [float(bound) for bound in _items(fields["custom_values"])]
    if bounds != sorted(set(bounds)) or not all(map(math.isfinite, bounds)):
        raise ValueError("bounds ascend")
    first, counts = _buckets(fields, "positive")
    if first < 0 or first + len(counts) > len(bounds) + 1:
        raise ValueError("more buckets than bounds")
    after = len(bounds) + 1 - first - len(counts)
    return {"explicit_bounds": bounds, "bucket_counts": [*[0] * first, *counts, *[0] * after]}


def _buckets(fields: dict[str, str], side: str) -> tuple[int, list[int | float]]:
    """Return the index of the first bucket and the counts from there on, gaps filled."""
    spans = [tuple(map(int, span.split(":"))) for span in _items(fields.get(f"{side}_spans", "[]"))]
    given = _items(fields.get(f"{side}_buckets", fields.get(f"{side}_deltas", "[]")))
    counts = [float(one) for one in given]
    if f"{side}_buckets" not in fields:
        for place in range(1, len(counts)):
            counts[place] += counts[place - 1]
    if any(len(span) != 2 or span[1] < 0 for span in spans) or sum(length for _, length in spans) != len(counts):
        raise ValueError("as many counts as the spans are long")
    if spans and spans[0][0] not in _INDEX:
        raise ValueError("an index of a bucket has 32 bits")
    if any(offset < 0 for offset, _ in spans[1:]) or sum(o + n for o, n in spans[1:]) + len(counts) > _MOST_BUCKETS:
        raise ValueError("spans ascend, and hold some thousand buckets")
    found: list[int | float] = []
    at = 0
    for place, (offset, length) in enumerate(spans):
        found += [0] * (offset if place else 0) + [_count(one) for one in counts[at : at + length]]
        at += length
    return (spans[0][0] if spans else 0), found


def _items(text: str) -> list[str]:
    return [item.strip() for item in text[1:-1].split(",") if item.strip()]


def _count(value: str | float) -> int | float:
    number = float(value)
    if not 0 <= number < math.inf:
        raise ValueError("a count is not negative")
    return int(number) if number.is_integer() and number < 2**63 else number
