"""Linking: spans to calls, each span being a side of a call or counted under a reason."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from .engine import run


@dataclass(frozen=True, slots=True)
class Links:
    """``calls``: a row per remote interaction; ``unlinked``: per span without one; ``visits``: per distinct span."""

    calls: pa.Table
    unlinked: pa.Table
    visits: pa.Table


def link(spans: pa.Table) -> Links:
    """Return the calls of ``spans`` (schema `hypocenter.tracer.schema.SPANS`, any order).

    Notes
    -----
    For complete traces the result depends neither on the order nor on the slicing of the input. The rules:
    docs/linking.md.
    """
    visits = run("visits", {"spans": spans})
    calls = run("calls", {"visits": visits})
    unlinked = run("unlinked", {"visits": visits, "spans": spans})
    return Links(calls, unlinked, visits)
