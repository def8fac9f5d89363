"""How often a visit of an operation shows an item (a child call, a log line, an error): one share or two?

Visits are compared same with same: within service, operation and the chain of calls above it, so that a change of the
mix of requests is no evidence.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from ..onset import Split
from .bayes import log_mean_exp_by, log_onset_factor
from .finding import Told
from .visits import MANY_ORPHANS, Visits, keys_of, running

Change = Literal["any", "more", "less"]
_RARER = 0.2  # a share of failures that falls by this much is an outage that ends


@dataclass(frozen=True)
class Presence:
    """A test per (context, item): ``hits`` of ``totals[context]`` visits, `running` sums by test and by context."""

    visits: Visits
    hits: np.ndarray
    totals: np.ndarray
    context: np.ndarray
    service: np.ndarray  # by test: who is blamed
    item: np.ndarray
    example: np.ndarray  # by test: a row of the visits in this context
    change: Change = "any"
    symptom: np.ndarray | None = None  # by test: its item tells of a failure
    unit: np.ndarray | None = None  # by context: the visit of a service that it belongs to
    above: np.ndarray | None = None  # by test: the test of whether its visits are made at all, -1 for none
    # Each split is asked for again to tell of every service that it speaks against.
    _kept: dict[Split, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def of(
        cls,
        visits: Visits,
        context: np.ndarray,
        rows: np.ndarray,
        item: np.ndarray,
        *,
        among: np.ndarray | None = None,
        blamed: np.ndarray | None = None,
        change: Change = "any",
        failing: np.ndarray | None = None,
    ) -> Presence:
        """Count the visits ``rows`` (distinct pairs with ``item``) that show an item, by context of the visit.

        ``context`` gives a number per visit; ``among`` (a mask) limits the visits that count as trials; ``blamed`` is
        the service that a test speaks of, by row, by default that of the visit. ``failing`` marks rows whose item tells
        of a failure: where such an item becomes rarer an outage ends, and other tests of that visit are no evidence.
        """
        everything = np.ones(len(visits), bool) if among is None else among
        n_contexts = int(context.max(initial=-1)) + 1
        totals = visits.count(context, n_contexts, everything)
        key, first = keys_of(context[rows], item, blamed if blamed is not None else np.zeros(len(rows), "i8"))
        width = 1 + visits.clock.n_steps
        column = visits.column[rows]
        kept = column >= 0
        hits = np.bincount(key[kept] * width + column[kept], minlength=len(first) * width).reshape(-1, width)
        at = rows[first]
        service = visits.service[at] if blamed is None else blamed[first]
        symptom = unit = None
        if failing is not None:
            symptom, unit = failing[first], np.zeros(n_contexts, "i8")
            unit[context] = visits.path[visits.entry]
        return cls(visits, running(hits), totals, context[at], service, item[first], at, change, symptom, unit)

    def counts(self, split: Split) -> tuple[np.ndarray, np.ndarray]:
        """Return (hits, visits) in the quiet recording, before the onset and after it, each of shape (3, n_tests)."""
        n = np.stack([part[self.context] for part in self.visits.clock.parts(self.totals, split)])
        return np.minimum(np.stack(self.visits.clock.parts(self.hits, split)), n), n

    def nats(self, split: Split) -> tuple[np.ndarray, np.ndarray]:
        """Return (log Bayes factor that the share changed, whether both sides were visited) by test.

        It is 0 where the share went the other way than ``change`` asks for.
        """
        if split not in self._kept:
            self._kept[split] = self._nats(split)
        return self._kept[split]

    def _nats(self, split: Split) -> tuple[np.ndarray, np.ndarray]:
        hits, n = self.counts(split)
        n_before = n[0] + n[1]
        tested = (n_before > 0) & (n[2] > 0)
        valid = tested.copy()
        if self.change != "any":
            with np.errstate(divide="ignore", invalid="ignore"):
                rises = hits[2] / n[2] > (hits[0] + hits[1]) / n_before
            valid &= rises if self.change == "more" else ~rises
        nats = np.where(valid, log_onset_factor(hits, n), 0.0)
        if self.symptom is not None and self.unit is not None:
            with np.errstate(divide="ignore", invalid="ignore"):
                rarer = hits[2] / n[2] < (hits[0] + hits[1]) / n_before - _RARER
            ending = np.zeros(int(self.unit.max(initial=0)) + 1, bool)
            ending[self.unit[self.context[self.symptom & tested & rarer]]] = True
            nats = np.where(ending[self.unit[self.context]], np.minimum(nats, 0.0), nats)
        if self.above is not None:
            nats = nats - self._explained(nats)
        return nats, tested

    def _explained(self, nats: np.ndarray) -> np.ndarray:
        """Return the strongest change above each test: where calls are no longer made, those that remain are others."""
        assert self.above is not None
        explained, above = np.zeros(len(nats)), self.above
        while (above >= 0).any():
            explained = np.maximum(explained, np.where(above >= 0, np.maximum(nats[above], 0.0), 0.0))
            above = np.where(above >= 0, self.above[above], -1)
        return explained

    def by_service(self, split: Split) -> np.ndarray:
        """Return nats by service, at least 0: the log-mean-exp over its tests of operations seen on both sides."""
        n = len(self.visits.services)
        nats, tested = self.nats(split)
        tested = tested & (self.service >= 0)
        if not tested.any():
            return np.zeros(n)
        nats, service = nats[tested], self.service[tested]
        if self.visits.orphans < MANY_ORPHANS:
            return np.asarray(np.maximum(log_mean_exp_by(nats, service, n), 0.0))
        # Lost spans cut the ways to an operation in pieces: it may have changed on all of them, or on one.
        group, first = keys_of(service, self.visits.operation[self.example][tested], self.item[tested])
        on_all = np.bincount(group, nats, len(first))
        on_one = log_mean_exp_by(nats, group, len(first))
        either = np.logaddexp(on_all, on_one) - np.log(2)
        return np.asarray(np.maximum(log_mean_exp_by(either, service[first], n), 0.0))

    def tell(self, split: Split, service: int, says: Callable[[int], str]) -> Told:
        """Name the operation of a service whose visits changed most, and how; ``says`` puts an item in words."""
        test, before, now = self.best(split, service)
        visits = self.visits
        operation = visits.operations[visits.operation[self.example[test]]]
        text = f"{operation} {says(self.item[test])}: {before:.0%} of visits before, {now:.0%} now"
        return Told(text, visits.services[service], operation=operation, indicator="code")

    def best(self, split: Split, service: int) -> tuple[int, float, float]:
        """Return the strongest test about ``service`` with its share before and now."""
        nats, _ = self.nats(split)
        test = int(np.argmax(np.where(self.service == service, nats, -np.inf)))
        hits, n = (part[:, test] for part in self.counts(split))
        return test, float(hits[:2].sum() / max(n[:2].sum(), 1)), float(hits[2] / max(n[2], 1))
