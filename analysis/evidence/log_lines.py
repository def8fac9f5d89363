"""Log lines that a visit of an operation usually writes: missing, replaced or new ones mark code faults.

Templates per visit with a Bayes factor, not keywords: an error line blames the innocent caller.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ...tracer.log_templates import tells_failure, templates
from ..onset import Split
from .failed_calls import Said
from .finding import Told
from .lost_spans import Lines, with_lost_visits
from .presence import Presence
from .visits import MANY_ORPHANS, Visits, keys_of

_MIN_LINES = 20


class LogLines:
    """Services whose visits write other lines than usual; needs log records that name their span."""

    kind: ClassVar[str] = "log lines"

    def __init__(self, visits: Visits, quiet: pa.Table, incident: pa.Table, said: Said | None = None) -> None:
        # What a service writes when its callee fails speaks of the callee.
        said = said or Said.nothing(visits)
        seen, row, item, failing, self._names = _joined(visits, quiet, incident, said)
        own = np.append(~said.inherited, np.ones(len(seen) - len(visits), bool))
        kept = own[row]
        self._presence = Presence.of(seen, seen.path, row[kept], item[kept], among=own, failing=failing[kept])
        written = int((row >= visits.n_quiet).sum())
        self.not_checked = None if written >= _MIN_LINES else f"{written} log lines name a span of the incident"

    def score(self, split: Split) -> np.ndarray:
        """Return, by service, the Bayes factor that the presence of log templates in its visits changed."""
        return self._presence.by_service(split)

    def tell(self, split: Split, service: int) -> Told:
        """Name the operation and the line that changed most."""
        return self._presence.tell(split, service, lambda item: f"writes “{self._names[item]}”")


def _joined(
    visits: Visits, quiet: pa.Table, incident: pa.Table, said: Said
) -> tuple[Visits, np.ndarray, np.ndarray, np.ndarray, list[str]]:
    """Return distinct (row of the visit, template) pairs, whether the line tells of a failure, and the templates.

    Where spans are lost, the visits returned first are more than those given: some are known by their lines alone.
    """
    logs = pa.concat_tables([quiet, incident]).append_column("is_quiet", _ones_then_zeros(quiet, incident))
    logs = logs.filter(pc.and_(pc.is_valid(logs["span_id"]), pc.is_valid(logs["trace_id"])))
    if not logs.num_rows:
        nothing = np.empty(0, "i8")
        return visits, nothing, nothing, np.empty(0, bool), []
    encoded = templates(logs["body"]).dictionary_encode()
    item = encoded.indices.to_numpy(zero_copy_only=False).astype("i8")
    failing = pc.fill_null(tells_failure(logs), False).to_numpy(zero_copy_only=False)
    number = pa.array(np.arange(logs.num_rows))
    ids = visits.ids.append_column("row", pa.array(np.arange(len(visits))))
    joined = (
        logs.select(["trace_id", "span_id"])
        .append_column("line", number)
        .join(ids, ["trace_id", "span_id"], join_type="inner")
    )
    row = np.full(logs.num_rows, -1)
    row[joined["line"].to_numpy()] = joined["row"].to_numpy()

    if visits.orphans >= MANY_ORPHANS:
        trace, lines = _lines(visits, logs, row, item, failing)
        visits, row = with_lost_visits(visits, lines, trace, said)
    told = np.flatnonzero(row >= 0)
    told = told[np.lexsort((item[told], row[told]))]
    _, first = keys_of(row[told], item[told])
    told = told[first]
    return visits, row[told], item[told], failing[told], encoded.dictionary.to_pylist()


def _ones_then_zeros(first: pa.Table, second: pa.Table) -> pa.Array:
    return pa.array(np.arange(first.num_rows + second.num_rows) < first.num_rows)


def _lines(
    visits: Visits, logs: pa.Table, row: np.ndarray, item: np.ndarray, failing: np.ndarray
) -> tuple[np.ndarray, Lines]:
    """Return the code of each visit's trace, and the lines with codes of the same numbering."""
    both = pa.concat_arrays([c for table in (visits.ids, logs) for c in table["trace_id"].chunks])
    trace = both.dictionary_encode().indices.to_numpy(zero_copy_only=False).astype("i8")
    span = logs["span_id"].combine_chunks().dictionary_encode().indices.to_numpy(zero_copy_only=False)
    position = {name: i for i, name in enumerate(visits.services)}
    service = np.array([position.get(name, -1) for name in logs["service"].to_pylist()], "i8")
    of_span = np.where(row >= 0, visits.service[row], service)
    is_quiet, time = logs["is_quiet"].to_numpy(zero_copy_only=False), logs["time_ns"].to_numpy()
    return trace[: len(visits)], Lines(trace[len(visits) :], span, row, item, of_span, time, failing, is_quiet)
