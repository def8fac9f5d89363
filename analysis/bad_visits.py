"""Which of a service's visits are bad: those of one version, pod, node, operation, tenant? A contrast, not a model.

Bad are visits that fail or take longer than 95 % of the same operation's before the onset. For each value of each
dimension the bad share on it is compared with the bad share elsewhere, operation by operation (so that a change of the
mix of requests is no evidence), as a Bayes factor of two shares over one; the values looked at are paid for.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from .case import Case
from .evidence.bayes import log_bayes_factor
from .onset import MINUTE_NS, Split

# In this order where two tell the same: what was rolled out, what it runs on, what is asked of it, who asks.
_DIMENSIONS = ("version", "pod", "node", "operation")
_ALIKE_NATS = 0.5
_ENOUGH_NATS = 5.0  # after paying for the values looked at
_SLOW, _FEWEST = 0.95, 20
_MOST_VISITS = 50_000
_FEWEST_BAD = 5
# An attribute with more values names single requests, one on fewer visits says little of them.
_MOST_VALUES, _COVERS = 40, 0.2
# What tells that a visit was bad, or with which connection it came, does not tell which visits are bad.
_OUTCOME = r"(?i)status|error|exception|duration|elapsed|port$|address|\.ip$|size|length|thread|version|^url|target"
_RECENT_NS = 10 * MINUTE_NS


@dataclass(frozen=True, slots=True)
class BadVisits:
    """``bad`` of ``n`` visits with this value are bad, ``bad_else`` of ``n_else`` without it; ``nats`` for two shares.

    ``is_new`` tells of a version that it was first seen within ten minutes before the onset, or later.
    """

    service: str
    dimension: str
    value: str
    bad: int
    n: int
    bad_else: int
    n_else: int
    nats: float
    is_new: bool = False

    @property
    def text(self) -> str:
        """The finding with its figures."""
        new = "new " if self.is_new else ""
        return (
            f"bad are the visits with the {new}{self.dimension} {self.value}: {self.bad / self.n:.0%} of {self.n}, "
            f"elsewhere {self.bad_else / max(self.n_else, 1):.0%} of {self.n_else}"
        )


def bad_visits(case: Case, service: str, split: Split) -> BadVisits | None:
    """Return what sets the bad visits of ``service`` since the onset apart, None where nothing does.

    Spans are needed; attributes of the visits' own spans are looked at if they have few values.
    """
    visits = _visits(case.links.visits, service, split)
    if visits is None or visits.is_bad.sum() < _FEWEST_BAD:
        return None
    visits = _with_attributes(visits, case.telemetry.table("spans"), service)
    dimensions = [*_DIMENSIONS, *sorted(c for c in visits.columns if c.startswith("attribute "))]
    found = [test for dimension in dimensions for test in _tests(visits, service, dimension, split)]
    if not found:
        return None
    enough = _ENOUGH_NATS + np.log(len(found))
    best = max(test.nats for test in found)
    if best < enough:
        return None
    # The first of those that tell the same: `found` is in the order of the dimensions.
    return next(test for test in found if test.nats >= best - _ALIKE_NATS)


def _visits(table: pa.Table, service: str, split: Split) -> pd.DataFrame | None:
    """Return the visits of a service that came from outside of it, before and since the onset, marked if bad."""
    inside = pc.and_(pc.greater_equal(table["start_ns"], split.start_ns), pc.less(table["start_ns"], split.end_ns))
    entered = pc.invert(pc.fill_null(pc.equal(table["parent_service"], service), False))
    own = table.filter(pc.and_(pc.and_(pc.equal(table["service"], service), inside), entered))
    if not 0 < own.num_rows <= _MOST_VISITS:
        return None
    columns = ["trace_id", "span_id", *_DIMENSIONS, "is_error", "start_ns", "duration_ns"]
    visits = own.select(columns).to_pandas()
    visits["is_after"] = visits.start_ns >= split.onset_ns
    usual = visits[~visits.is_after & ~visits.is_error].groupby("operation").duration_ns
    limit = usual.quantile(_SLOW).where(usual.size() >= _FEWEST)
    visits["is_bad"] = visits.is_error | (visits.duration_ns > visits.operation.map(limit).fillna(np.inf))
    return visits


def _with_attributes(visits: pd.DataFrame, spans: pa.Table, service: str) -> pd.DataFrame:
    """Return the visits with a column per attribute of their spans that has a few values."""
    own = spans.filter(pc.equal(spans["service"], service)).select(["trace_id", "span_id", "attributes"])
    maps = own["attributes"].combine_chunks()
    if not len(maps):
        return visits
    row = np.repeat(np.arange(len(maps)), np.diff(maps.offsets.to_numpy()))
    items = pd.DataFrame({"row": row, "key": maps.keys.to_pandas(), "value": maps.items.to_pandas()})
    items = items[~items.key.str.contains(_OUTCOME)]
    ids = own.select(["trace_id", "span_id"]).to_pandas()
    place = ids.reset_index().merge(visits.reset_index()[["trace_id", "span_id", "index"]], on=["trace_id", "span_id"])
    items = items.merge(place.rename(columns={"index_x": "row", "index_y": "visit"}), on="row")
    if items.empty:
        return visits
    known = items.groupby("key").agg(n=("visit", "nunique"), values=("value", "nunique"))
    kept = known[(known.n >= _COVERS * len(visits)) & (known["values"] > 1) & (known["values"] <= _MOST_VALUES)].index
    for key in sorted(kept):
        of_key = items[items.key == key].drop_duplicates("visit").set_index("visit").value
        visits[f"attribute {key}"] = of_key.reindex(visits.index).str.strip('"')
    return visits


def _tests(visits: pd.DataFrame, service: str, dimension: str, split: Split) -> list[BadVisits]:
    """Return a contrast per value of a dimension that is worse than the rest."""
    known = visits[visits[dimension].notna()]
    after = known[known.is_after]
    found = []
    for value in sorted(after[dimension].unique()):
        first_ns = known.start_ns[known[dimension] == value].min()
        recent = first_ns >= split.onset_ns - _RECENT_NS and (known.start_ns < first_ns).sum() >= _FEWEST
        is_new = dimension == "version" and bool(recent)
        # A version that came with the onset may have replaced the others: those before it are the rest.
        among = known if is_new else after
        has = among[dimension] == value
        bad, n = int(among.is_bad[has].sum()), int(has.sum())
        bad_else, n_else = int(among.is_bad[~has].sum()), int((~has).sum())
        if n and n_else and bad / n > bad_else / n_else:
            nats = _nats(among, has, by_operation=dimension != "operation")
            name = dimension.removeprefix("attribute ")
            found.append(BadVisits(service, name, value, bad, n, bad_else, n_else, nats, is_new))
    return found


def _nats(visits: pd.DataFrame, has: pd.Series, *, by_operation: bool) -> float:
    """Return nats for two bad shares over one; each operation may differ or not, at even odds."""
    stratum = visits.operation if by_operation else pd.Series("", index=visits.index)
    counts = visits.is_bad.groupby([stratum, has]).agg(["sum", "count"]).unstack(fill_value=0)
    bad, n = (counts[part].reindex(columns=[True, False], fill_value=0).to_numpy(float) for part in ("sum", "count"))
    factor = log_bayes_factor(bad[:, 0], n[:, 0], bad[:, 1], n[:, 1])
    worse = bad[:, 0] * n[:, 1] > bad[:, 1] * n[:, 0]
    factor = np.where(worse, factor, np.minimum(factor, 0.0))
    return float(np.sum(np.logaddexp(factor, 0.0) - np.log(2))) if by_operation else float(factor[0])
