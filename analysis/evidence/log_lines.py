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
from .presence import Presence
from .visits import Visits, keys_of

_MIN_LINES = 20


class LogLines:
    """Services whose visits write other lines than usual; needs log records that name their span."""

    kind: ClassVar[str] = "log lines"

    def __init__(self, visits: Visits, quiet: pa.Table, incident: pa.Table, said: Said | None = None) -> None:
        row, item, failing, self._names = _joined(visits, pa.concat_tables([quiet, incident]))
        # What a service writes when its callee fails speaks of the callee.
        own = ~(said or Said.nothing(visits)).inherited
        kept = own[row]
        self._presence = Presence.of(visits, visits.path, row[kept], item[kept], among=own, failing=failing[kept])
        written = int((row >= visits.n_quiet).sum())
        self.not_checked = None if written >= _MIN_LINES else f"{written} log lines name a span of the incident"

    def score(self, split: Split) -> np.ndarray:
        """Return, by service, the Bayes factor that the presence of log templates in its visits changed."""
        return self._presence.by_service(split)

    def tell(self, split: Split, service: int) -> Told:
        """Name the operation and the line that changed most."""
        return self._presence.tell(split, service, lambda item: f"writes “{self._names[item]}”")


def _joined(visits: Visits, logs: pa.Table) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[str]]:
    """Return distinct (row of the visit, template) pairs, whether the line tells of a failure, and the templates."""
    logs = logs.filter(pc.and_(pc.is_valid(logs["span_id"]), pc.is_valid(logs["trace_id"])))
    if not logs.num_rows:
        nothing = np.empty(0, "i8")
        return nothing, nothing, np.empty(0, bool), []
    encoded = templates(logs["body"]).dictionary_encode()
    lines = logs.select(["trace_id", "span_id"]).append_column("item", encoded.indices)
    lines = lines.append_column("failing", tells_failure(logs))
    rows = visits.ids.append_column("row", pa.array(np.arange(len(visits))))
    joined = lines.join(rows, keys=["trace_id", "span_id"], join_type="inner")
    row, item = joined["row"].to_numpy(), joined["item"].to_numpy().astype("i8")
    _, first = keys_of(row, item)
    # The join returns rows in any order.
    first = first[np.lexsort((item[first], row[first]))]
    failing = joined["failing"].to_numpy(zero_copy_only=False)
    return row[first], item[first], failing[first], encoded.dictionary.to_pylist()
