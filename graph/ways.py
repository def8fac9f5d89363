"""The ways by which calls reach a node, each exactly as often as the spans of a window tell."""

from __future__ import annotations

from functools import partial
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from hypocenter.errors import GraphError

from ..tracer.store import Store
from ..tracer.window import Window
from . import grouping
from .compact import unpacked
from .link import link_compact
from .messages import Sent
from .ordering import Ints
from .rules import Rules
from .scan_calls import hours
from .slices import SLICE_SPANS, of_slices

WAY_COLUMNS: Final = ["way", "hops", "calls", "adjusted_calls", "share", "errors", "error_ratio"]
_ARROW: Final = " -> "


def ways(store: Store, window: Window, node: str, *, slice_spans: int = SLICE_SPANS) -> pd.DataFrame:
    """Return the ways from where requests begin to ``node`` (`WAY_COLUMNS`), the most frequent first.

    ``way`` names the nodes in the order of the calls, ``calls`` are those to ``node`` that came that way, as seen,
    ``errors`` those of them that failed; ``adjusted_calls`` undo sampling, and ``share`` (0..1) is their part of all
    calls to it. A way goes on through a broker where the consumer has its producer for parent.

    Raises
    ------
    GraphError
        If spans tell of no call to the node in the window.

    Notes
    -----
    Links the window anew, hour by hour in slices of about ``slice_spans``: the cost is that of linking it.
    """
    parts = [pd.DataFrame({"way": [], "calls": [], "adjusted_milli": [], "errors": []})]
    for part, read in hours(store, window):
        work = partial(_ways, window=part, node=node)
        parts += [found for _, found in of_slices(read, work, slice_spans, fold_operations=True)]
    found = pd.concat([part for part in parts if len(part)] or parts)
    if found.empty:
        raise GraphError(f"no call to {node!r} in {window}; hypocenter graph --store {store} names the nodes")
    found = found.groupby("way", as_index=False)[["calls", "adjusted_milli", "errors"]].sum()
    found["adjusted_calls"] = found["adjusted_milli"] / 1000
    found["hops"] = found["way"].str.count(_ARROW)
    found["share"] = found["adjusted_calls"] / found["adjusted_calls"].sum()
    found["error_ratio"] = found["errors"] / found["calls"]
    return found.sort_values(["adjusted_calls", "way"], ascending=[False, True], ignore_index=True)[WAY_COLUMNS]


def _ways(rows: pa.Table, sent: Sent, rules: Rules, window: Window, node: str) -> pd.DataFrame:
    found = link_compact(unpacked(rows, sent), rules)
    visits, calls = found.visits.table(), found.calls.table()
    callers = calls["caller_request"].fill_null(-1).to_numpy()
    # A caller that is no service stands between the request that called it, if any, and the callee.
    is_service = pc.equal(calls["caller_kind"], "service")
    step = pc.if_else(
        is_service, calls["callee"], pc.binary_join_element_wise(calls["caller"], calls["callee"], _ARROW)
    ).to_numpy()
    # The request above each request, and the step from there: the call by which it arrived.
    above, name = np.full(len(rows), -1), np.full(len(rows), None, object)
    name[visits["row"].to_numpy()] = visits["service"].to_numpy()
    arrival = pc.and_(pc.equal(calls["callee_kind"], "service"), pc.not_equal(calls["matched"], "linked"))
    arrived = np.flatnonzero(arrival.to_numpy())
    row = calls["row"].to_numpy()[arrived]
    above[row], name[row] = callers[arrived], step[arrived]
    begun = calls["start_ns"].to_numpy()
    is_wanted = pc.equal(calls["callee"], node).to_numpy() & (begun >= window.start_ns) & (begun < window.end_ns)
    wanted = np.flatnonzero(is_wanted)
    way, texts = _followed(callers[wanted], step[wanted], _without_circles(above), name)
    failed = pc.or_(calls["client_error"], calls["server_error"]).to_numpy()[wanted]
    count, errors = np.bincount(way, minlength=len(texts)), np.bincount(way, failed, len(texts)).astype(np.int64)
    milli = grouping.sums(way, len(texts), calls["adjusted_milli"].to_numpy()[wanted]).to_numpy()
    return pd.DataFrame({"way": texts, "calls": count, "adjusted_milli": milli, "errors": errors})[count > 0]


def _followed(request: Ints, step: np.ndarray, above: Ints, name: np.ndarray) -> tuple[Ints, list[str]]:
    """Return the number of each call's way, and the ways by number: ``step``, and before it those of the requests."""
    way, found = pd.factorize(step)
    texts = [str(text) for text in found]
    names, distinct = pd.factorize(name)
    while (request >= 0).any():
        going = np.flatnonzero(request >= 0)
        longer, pairs = pd.factorize(names[request[going]] * len(texts) + way[going])
        way[going] = len(texts) + longer
        texts += [
            f"{distinct[head]}{_ARROW}{texts[tail]}" for head, tail in zip(*np.divmod(pairs, len(texts)), strict=True)
        ]
        request = np.where(request >= 0, above[request], -1)
    return way, texts


def _without_circles(above: Ints) -> Ints:
    """Return the requests above, none for those above which no first one is."""
    top = above
    for _ in range(len(above).bit_length()):
        top = np.where(top >= 0, top[top], -1)
    return np.where(top >= 0, -1, above)
