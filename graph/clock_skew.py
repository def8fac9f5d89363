"""Clocks that disagree: the offset between each pair of clocks, from calls alone, and calls with it undone.

A server span lies within its client span. On a clock that is ``o`` ahead it seems to start and end ``o`` later, so each
synchronous call bounds ``o``: server end - client end <= o <= server start - client start. Network delay is the slack.
"""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ..tracer.store import Store
from ..tracer.window import Window
from . import grouping
from .scan_calls import scan_calls
from .slices import SLICE_SPANS
from .spill import Spill

SKEW_COLUMNS = ["caller_clock", "callee_clock", "calls", "skew_ns", "low_ns", "high_ns", "impossible", "is_skewed"]
_CLOCKS = ["caller_clock", "callee_clock"]
_BOUNDS = ["low_ns", "high_ns"]
# Pairs of clocks with about so many calls are judged together.
_JUDGED_AT_ONCE = 1_000_000
# The share of calls whose bounds are not believed: asynchronous ones, and those during which a clock was set.
_DISTRUST = 0.05
_LEAST_CALLS = 5


def read(store: Store, window: Window | None = None, *, slice_spans: int = SLICE_SPANS) -> pd.DataFrame:
    """Return the skews (`skews`) of a window of a store; its calls are linked for that.

    A call takes 24 bytes of temporary disk, and memory only while its pair of clocks is judged.
    """
    numbers: dict[tuple[str, str], int] = {}
    with tempfile.TemporaryDirectory(prefix="hypocenter-") as folder:
        spill = Spill(Path(folder) / "calls")
        for calls in scan_calls(store, window, slice_spans=slice_spans):
            ends = _ends(calls)
            if len(ends):
                group, clocks = grouping.group({name: ends.column(name) for name in _CLOCKS})
                pairs = zip(*(clocks[name].to_pylist() for name in _CLOCKS), strict=True)
                pair = np.array([numbers.setdefault(pair, len(numbers)) for pair in pairs])[group]
                spill.add(ends.select(_BOUNDS).append_column("pair", pa.array(pair)), pair)
        if not numbers:
            return skews(_SCHEMA.empty_table())
        spill.close()
        _, sizes = spill.sizes()
        _, firsts = np.unique((np.cumsum(sizes) - sizes) // _JUDGED_AT_ONCE, return_index=True)
        parts = []
        for first, end in itertools.pairwise([*firsts.tolist(), len(sizes)]):
            parts.append(_judged(pa.Table.from_batches(spill.read(first, end)).to_pandas(), ["pair"]))
            spill.forget()
    found = pd.concat(parts, ignore_index=True)
    names = pd.DataFrame(list(numbers), columns=_CLOCKS)
    return _ordered(pd.concat([names.loc[found["pair"]].reset_index(drop=True), found], axis=1))


def skews(calls: pa.Table) -> pd.DataFrame:
    """Return a row per pair of clocks that calls connect (`SKEW_COLUMNS`), the furthest apart first.

    A clock is a pod, else a service. ``skew_ns`` is how far the callee's clock is ahead of the caller's, in the middle
    of its bounds ``low_ns`` .. ``high_ns``; ``impossible`` are calls whose server side does not lie within the client
    side; ``is_skewed`` says that the bounds exclude clocks that agree.

    Notes
    -----
    Bounds are the tightest that 95 % of at least 5 calls agree to. Where none are (a clock that drifts), the skew is
    the median of the middles of each call's. Calls whose server side is the longer one say nothing and are left out.
    """
    ends = calls if calls.schema.equals(_SCHEMA) else pa.Table.from_batches(map(_ends, calls.to_batches()), _SCHEMA)
    return _ordered(_judged(ends.to_pandas(), _CLOCKS))


def _judged(frame: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Return a row per pair of clocks, named ``by`` some columns, of the bounds of all its calls."""
    frame["middle_ns"] = (frame["low_ns"] + frame["high_ns"]) // 2
    frame["impossible"] = (frame["low_ns"] > 0) | (frame["high_ns"] < 0)
    grouped = frame.groupby(by, sort=True)
    found = grouped.size().rename("calls").to_frame()
    found["low_ns"] = grouped["low_ns"].quantile(1 - _DISTRUST, interpolation="lower")
    found["high_ns"] = grouped["high_ns"].quantile(_DISTRUST, interpolation="higher")
    found["impossible"] = grouped["impossible"].sum()
    median = grouped["middle_ns"].quantile(0.5, interpolation="lower")
    agree = found["low_ns"] <= found["high_ns"]
    found["skew_ns"] = ((found["low_ns"] + found["high_ns"]) // 2).where(agree, median)
    excluded = ((found["low_ns"] > 0) | (found["high_ns"] < 0)) & (found["impossible"] > _DISTRUST * found["calls"])
    found["is_skewed"] = excluded & (found["calls"] >= _LEAST_CALLS)
    return found.reset_index()


def _ordered(found: pd.DataFrame) -> pd.DataFrame:
    found = found.sort_values(_CLOCKS, ignore_index=True)[SKEW_COLUMNS]
    order = found["skew_ns"].abs().where(found["is_skewed"], -1)
    return found.iloc[np.argsort(-order.to_numpy(), kind="stable")].reset_index(drop=True)


def corrected(calls: pa.Table, found: pd.DataFrame) -> pa.Table:
    """Return calls with ``skew_ns``, ``corrected_server_start_ns`` and ``corrected_queue_ns`` beside what was recorded.

    The skew is 0 between clocks that agree, and between those of which nothing is known.
    """
    skewed = found[found["is_skewed"]]
    known = {(a, b): n for a, b, n in zip(*(skewed[c] for c in (*_CLOCKS, "skew_ns")), strict=True)}
    callers, callees = _clock(calls, "caller").to_pylist(), _clock(calls, "callee").to_pylist()
    skew = pa.array([known.get(pair, 0) for pair in zip(callers, callees, strict=True)], pa.int64())
    for name in ("server_start_ns", "queue_ns"):
        calls = calls.append_column(f"corrected_{name}", pc.subtract(calls[name], skew))
    return calls.append_column("skew_ns", skew)


_SCHEMA = pa.schema([*((name, pa.string()) for name in _CLOCKS), ("low_ns", pa.int64()), ("high_ns", pa.int64())])


def _ends(calls: pa.RecordBatch) -> pa.RecordBatch:
    """Return the clocks and bounds of the calls that have both sides, the longer one being the client's."""
    client, server = (calls[f"{side}_duration_ns"] for side in ("client", "server"))
    known = pc.and_(pc.equal(calls["matched"], "pair"), pc.fill_null(pc.less_equal(server, client), False))
    calls = calls.filter(known)
    high = pc.subtract(calls["server_start_ns"], calls["client_start_ns"])
    longer = pc.subtract(calls["server_duration_ns"], calls["client_duration_ns"])
    columns = [_clock(calls, "caller"), _clock(calls, "callee"), pc.add(high, longer), high]
    return pa.record_batch([column.cast(field.type) for column, field in zip(columns, _SCHEMA, strict=True)], _SCHEMA)


def _clock(calls: pa.RecordBatch | pa.Table, side: str) -> pa.Array:
    return pc.coalesce(calls[f"{side}_pod"], calls[side])
