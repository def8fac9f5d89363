"""Calls that failed: what they say of the reason, and which visits only pass such a failure on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hypocenter.semconv import KIND_CLIENT, KIND_PRODUCER, STATUS_ERROR

from ..onset import SECOND_NS
from .visits import MANY_ORPHANS, Visits, keys_of

_TIMED_OUT = r"(?i)time.?out|timed.?out|deadline|cancell?ed|abort"
_UNRESOLVED = r"(?i)name resolution|getaddrinfo|gaierror|ENOTFOUND|EAI_AGAIN|name or service not known|no such host"
# The resolver itself did not answer: the caller's own trouble, whomever it asked for.
_NO_RESOLVER = r"(?i)temporary failure in name resolution|EAI_AGAIN|server misbehaving|lookup .*i/o timeout"
_NEARLY_ALL = 0.8
_REFUSED = (401, 403)  # the callee works, and the caller shows it the wrong papers
# A circuit breaker answers for so long in place of a callee that failed, and tries it now and then.
_BREAKER_NS = 30 * SECOND_NS
_TRIES = 0.05


@dataclass(frozen=True)
class Said:
    """Masks over the visits: failed calls that timed out, of callers that know no address, that were not let in."""

    visits: Visits
    timed_out: np.ndarray
    unresolved: np.ndarray
    refused: np.ndarray

    @cached_property
    def inherited(self) -> np.ndarray:
        """The visits that only pass a failure on: see `inherits_failure`."""
        return inherits_failure(self.visits, self)

    @cached_property
    def passes_on(self) -> np.ndarray:
        """The services most of whose failed stays are inherited, as a mask: so are those whose spans are lost."""
        visits = self.visits
        entry = visits.enters & (visits.service >= 0) & (visits.kind != KIND_CLIENT)
        failed = entry & (visits.status == STATUS_ERROR)
        n, inherited = (
            np.bincount(visits.service[part], minlength=len(visits.services))
            for part in (failed, failed & self.inherited)
        )
        return np.asarray(2 * inherited > n)

    @classmethod
    def nothing(cls, visits: Visits) -> Said:
        """Return masks for spans that say nothing."""
        none = np.zeros(len(visits), bool)
        return cls(visits, none, none, none)

    @classmethod
    def of(cls, visits: Visits, spans: pa.Table) -> Said:
        """Return what the failed spans among ``spans``, those of the incident, say."""
        failed = spans.filter(pc.equal(spans["status"], STATUS_ERROR))
        if not failed.num_rows:
            return cls.nothing(visits)
        parts = (pc.fill_null(failed[name], "") for name in ("status_message", "error_type", "events"))
        text = pc.binary_join_element_wise(*parts, " ")
        refused = pc.fill_null(pc.is_in(failed["http_status"], pa.array(_REFUSED, pa.int32())), False)
        ids = visits.ids.append_column("row", pa.array(np.arange(len(visits))))

        def rows(mask: pa.ChunkedArray) -> np.ndarray:
            kept = failed.filter(mask).select(["trace_id", "span_id"])
            found = np.zeros(len(visits), bool)
            found[ids.join(kept, ["trace_id", "span_id"], join_type="left semi")["row"].to_numpy()] = True
            return found

        timed_out, unresolved, alone = (
            rows(pc.match_substring_regex(text, each)) for each in (_TIMED_OUT, _UNRESOLVED, _NO_RESOLVER)
        )
        return cls(visits, timed_out, alone | unresolved & _knows_nobody(visits, unresolved), rows(refused))


def _knows_nobody(visits: Visits, unresolved: np.ndarray) -> np.ndarray:
    """Return the visits of services nearly all of whose calls fail so while any do: what is gone has no name either."""
    client = visits.kind == KIND_CLIENT
    cell, first = keys_of(visits.service, visits.column)
    n, lost = (np.bincount(cell, mask, len(first)) for mask in (client, client & unresolved))
    service = visits.service[first]
    n, lost = (np.bincount(service + 1, np.where(lost > 0, part, 0), len(visits.services) + 1) for part in (n, lost))
    return np.asarray((lost >= _NEARLY_ALL * np.maximum(n, 1))[visits.service + 1])


def inherits_failure(visits: Visits, said: Said) -> np.ndarray:
    """Return which visits belong to a stay in a service that made a failing call: what they do is inherited.

    So do stays that fail without that call while others of the same operation fail by it: behind an open circuit
    breaker. A call that fails by the caller's own doing is nobody else's failure.
    """
    failed = visits.status == STATUS_ERROR
    others = failed & ~(said.unresolved | said.refused)
    call = others & np.isin(visits.kind, (KIND_CLIENT, KIND_PRODUCER))
    stays = np.zeros(len(visits), bool)
    stays[visits.entry[call]] = True
    # Where clients are not recorded, the failed answer tells.
    above = visits.parent[failed & visits.crosses]
    stays[visits.entry[above[np.isin(above, np.flatnonzero(others)) | (visits.status[above] != STATUS_ERROR)]]] = True
    # Of a failed call whose caller's own span is lost, all that is known is whose it was.
    lost = call & visits.enters & (visits.orphans >= MANY_ORPHANS)
    stays |= _behind_a_breaker(visits, stays, lost)
    return np.asarray(stays[visits.entry])


def _behind_a_breaker(visits: Visits, stays: np.ndarray, lost: np.ndarray) -> np.ndarray:
    """Return the failing stays of operations in which, up to 30 s before, one of twenty such had a failing call.

    ``lost`` marks failed calls of which nothing above is left: any operation of their service may have made them.
    """
    rows = np.flatnonzero(visits.enters & (visits.status == STATUS_ERROR))
    rows = rows[visits.column[rows] >= 0]
    behind = np.zeros(len(visits), bool)
    if not len(rows):
        return behind
    # Where spans are lost, the call that failed may be one of them, and the ways to an operation are cut in pieces.
    cut = visits.orphans >= MANY_ORPHANS
    key, first = keys_of(*((visits.service[rows], visits.operation[rows]) if cut else (visits.path[rows],)))
    width = 1 + visits.clock.n_steps
    cell = key * width + visits.column[rows]
    steps = max(1, _BREAKER_NS // visits.clock.step_ns)

    def recent(at: np.ndarray, weights: np.ndarray, n: int) -> np.ndarray:
        total = np.bincount(at, weights, n * width).reshape(-1, width).cumsum(axis=1)
        total[:, steps:] -= total[:, :-steps].copy()
        return np.asarray(total)

    inherited, failed = (
        recent(cell, weights, len(first)).reshape(-1)[cell]
        for weights in (stays[rows].astype(float), np.ones(len(rows)))
    )
    if lost.any():
        calls = np.flatnonzero(lost & (visits.column >= 0))
        of_service = recent(
            visits.service[calls] * width + visits.column[calls], np.ones(len(calls)), len(visits.services)
        )
        inherited = inherited + of_service[visits.service[rows], visits.column[rows]]
    behind[rows] = (inherited > 0) & (inherited >= _TRIES * (1 - visits.orphans) * failed)
    return behind
