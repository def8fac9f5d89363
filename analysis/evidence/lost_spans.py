"""Log lines whose span was lost, given back to the operation that writes such lines.

A line names its span, so those of one visit are known to belong together although the span is gone: what is missing
among them, or new, tells as much as beside a span that arrived.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from .failed_calls import Said
from .visits import Visits

_NEARLY_ALL = 0.8  # of the lines of one template: whose visits write it


@dataclass(frozen=True)
class Lines:
    """Log lines that name a span; ``row`` is its visit, -1 where the span is missing, ``service`` a code as theirs."""

    trace: np.ndarray
    span: np.ndarray
    row: np.ndarray
    item: np.ndarray
    service: np.ndarray
    time_ns: np.ndarray
    failing: np.ndarray  # tells of a failure
    is_quiet: np.ndarray


def with_lost_visits(visits: Visits, lines: Lines, trace: np.ndarray, said: Said) -> tuple[Visits, np.ndarray]:
    """Return the visits with those appended of which only lines are left, and the row of each line, -1 for none.

    ``trace`` (n_visits,) and ``Lines.trace`` are codes of one numbering. A lost visit that inherits a failure, as
    others of its service in the trace do or most that failed elsewhere, is left out. A template that visits of several
    operations write places nobody; nor does one that was never seen beside a span.
    """
    known = lines.row >= 0
    lost = pd.DataFrame(
        {
            name: getattr(lines, name)[~known]
            for name in ("trace", "span", "item", "service", "time_ns", "failing", "is_quiet")
        }
    )
    lost["line"] = np.flatnonzero(~known)
    writers = pd.DataFrame({"item": lines.item[known], "row": lines.row[known]})
    writers["service"], writers["operation"] = visits.service[writers.row], visits.operation[writers.row]
    share = writers.groupby(["service", "item"]).operation.value_counts(normalize=True).rename("share").reset_index()
    usual = share[share.share >= _NEARLY_ALL].set_index(["service", "item"]).operation
    lost = lost.join(usual, on=["service", "item"])
    inherited = said.inherited
    inheriting = np.unique(trace[inherited] * len(visits.services) + visits.service[inherited])
    lost = lost[(lost.service >= 0) & ~np.isin(lost.trace * len(visits.services) + lost.service, inheriting)]
    lost["visit"] = lost.groupby(["trace", "span", "service"]).ngroup()
    failed = lost.groupby("visit").failing.transform("any").to_numpy(bool)
    lost = lost[~(failed & said.passes_on[lost.service])]
    # Its operation is that of the most of its lines that tell; the lowest code of equals.
    votes = lost.groupby(["visit", "operation"], as_index=False).size()
    votes = votes.sort_values(["visit", "size", "operation"], ascending=[True, False, True]).drop_duplicates("visit")
    first = lost.groupby("visit")[["service", "time_ns", "is_quiet"]].min().loc[votes.visit]
    operation, service = votes.operation.to_numpy("i8"), first.service.to_numpy("i8")
    step = (first.time_ns.to_numpy("i8") - visits.clock.start_ns) // visits.clock.step_ns
    column = np.where((step >= 0) & (step < visits.clock.n_steps), 1 + step, -1)
    column[first.is_quiet.to_numpy(bool)] = 0
    new = len(visits) + np.arange(len(votes))
    row = lines.row.copy()
    place = pd.Series(new, index=votes.visit.to_numpy())
    row[lost.line] = place.reindex(lost.visit).fillna(-1).to_numpy("i8")
    extended = replace(
        visits,
        column=np.append(visits.column, column),
        service=np.append(visits.service, service),
        operation=np.append(visits.operation, operation),
        path=np.append(visits.path, visits.path[_alike(visits, service, operation)]),
        entry=np.append(visits.entry, new),
    )
    return extended, row


def _alike(visits: Visits, service: np.ndarray, operation: np.ndarray) -> np.ndarray:
    """Return a visit of each service and operation, if there is one such whose own parent is missing: so is theirs."""
    width = len(visits.operations)
    code = visits.service * width + visits.operation
    order = np.lexsort((np.arange(len(code)), visits.parent >= 0, code))
    return np.asarray(order[np.searchsorted(code[order], service * width + operation)])
