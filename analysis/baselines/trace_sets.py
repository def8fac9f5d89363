"""Traces as rows of a matrix over operations, what the trace-based methods start from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from hypocenter.errors import NotApplicable

from ..case import Case
from .scores import ABNORMAL_NS

_MOST_TRACES = 20_000


@dataclass(frozen=True)
class TraceSets:
    """Traces of the abnormal window over the operations (service, name) that they and the baseline hold.

    ``counts`` (n_traces, n_operations) counts spans, ``slow`` those beyond mean + 3 deviations of the baseline;
    ``duration_ns`` (n_traces,) is the root's; ``mean_ns`` and ``deviation_ns`` (n_operations,) are of the baseline;
    ``calls`` (n_operations, n_operations) is true where the row's spans are parents of the column's; ``service``
    (n_operations,) names the owner.
    """

    counts: np.ndarray
    slow: np.ndarray
    duration_ns: np.ndarray
    mean_ns: np.ndarray
    deviation_ns: np.ndarray
    calls: np.ndarray
    service: np.ndarray


def trace_sets(case: Case, sigmas: float = 3.0) -> TraceSets:
    """Return the traces around the alert; `NotApplicable` is raised without spans before or after it.

    Of more than 20,000 traces the first by id are taken. An operation that the baseline lacks takes its own figures.
    """
    columns = ["trace_id", "span_id", "parent_span_id", "service", "operation", "start_ns", "duration_ns"]
    visits = case.links.visits.select(columns).to_pandas()
    quiet = case.baseline_links.visits.select(columns).to_pandas()
    before = pd.concat([quiet, visits[visits.start_ns < case.alert_ns]])
    inside = (visits.start_ns >= case.alert_ns) & (visits.start_ns < case.alert_ns + ABNORMAL_NS)
    after = visits[inside & visits.service.notna()]
    if after.empty or before.empty:
        raise NotApplicable("no spans before and after the alert")
    ids = np.sort(after.trace_id.unique())[:_MOST_TRACES]
    after = after[after.trace_id.isin(ids)]
    keys = pd.MultiIndex.from_frame(after[["service", "operation"]].drop_duplicates()).sort_values()
    usual = pd.concat([before, after[~_known(after, before)]]).groupby(["service", "operation"]).duration_ns
    mean = usual.mean().reindex(keys).to_numpy()
    deviation = usual.std().reindex(keys).fillna(0.0).to_numpy()
    trace = np.searchsorted(ids, after.trace_id.to_numpy())
    operation = keys.get_indexer(pd.MultiIndex.from_frame(after[["service", "operation"]]))
    shape = (len(ids), len(keys))
    counts, slow = np.zeros(shape), np.zeros(shape)
    np.add.at(counts, (trace, operation), 1)
    over = after.duration_ns.to_numpy() > mean[operation] + sigmas * deviation[operation]
    np.add.at(slow, (trace, operation), over)
    duration = after.groupby("trace_id").duration_ns.max().reindex(ids).to_numpy()
    spans = after.assign(code=operation)[["trace_id", "span_id", "parent_span_id", "code"]]
    pairs = spans.merge(spans, left_on=["trace_id", "parent_span_id"], right_on=["trace_id", "span_id"])
    calls = np.zeros((len(keys), len(keys)))
    calls[pairs.code_y.to_numpy(), pairs.code_x.to_numpy()] = 1
    return TraceSets(counts, slow, duration, mean, deviation, calls, keys.get_level_values(0).to_numpy())


def _known(frame: pd.DataFrame, among: pd.DataFrame) -> np.ndarray:
    seen = pd.MultiIndex.from_frame(among[["service", "operation"]]).unique()
    return np.asarray(pd.MultiIndex.from_frame(frame[["service", "operation"]]).isin(seen))
