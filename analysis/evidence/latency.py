"""Exclusive time per operation and the client-minus-server gap per edge, told apart by a star decomposition.

A stalled caller slows all its calls alike; a delayed callee slows only the calls to it, from every caller. So out(u) is
the lower median of the gap shifts over u's callees, the residual of an edge is its shift less out(u), and in(v) is the
mean residual over v's callers. A call to a peer that records no spans (a database) is a gap as a whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hypocenter.semconv import KIND_CLIENT, KIND_PRODUCER

from ..onset import Split
from .finding import Told
from .star import Star, star_of
from .visits import MANY_ORPHANS, Visits, keys_of, quantile_by

_MS = 1e6
_PRIOR_VARIANCE = 0.25  # of log milliseconds: standard deviation 0.5
_PRIOR_WEIGHT = 3.0
_MIN_VISITS = 50
_FEWEST = 2
_AS_A_RULE = 0.3
# Two recordings of one system differ by this much in log time at least.
_MIN_DRIFT = 0.05
_WELL = 0.1  # a shift of log time below which a service's own work did not slow down
# One or two services slow down by themselves; what the next one shows as well is the weather: a busy machine.
_AT_ONCE = 2
# A shift of log time becomes nats: 0.2 of log(ms) beyond noise counts as one nat.
_NATS_PER_LOG = 5.0


@dataclass(frozen=True)
class Moments:
    """Count, sum and sum of squares of log(x + 1 ms) by key, `running` sums of shape (n_keys, 2 + n_steps)."""

    n: np.ndarray
    total: np.ndarray
    square: np.ndarray

    @classmethod
    def of(cls, visits: Visits, key: np.ndarray, n_keys: int, rows: np.ndarray, value_ns: np.ndarray) -> Moments:
        """Return the moments of ``value_ns`` over ``rows`` of the visits."""
        logs = np.log1p(np.maximum(value_ns, 0.0) / _MS)
        count = visits.count
        return cls(count(key, n_keys, rows), count(key, n_keys, rows, logs), count(key, n_keys, rows, logs * logs))

    def shifts(self, visits: Visits, split: Split) -> np.ndarray:
        """Return the change of the mean of log(x + 1 ms) by key, pulled toward 0 by the error expected of so many keys.

        The baseline is the precision-weighted mean of the quiet recording and of what precedes the onset; the quiet one
        carries an extra variance, the drift between recordings, estimated over all keys. NaN where a side is missing.
        """
        clock = visits.clock
        n, total, square = (np.stack(clock.parts(part, split)) for part in (self.n, self.total, self.square))
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = total / n
            own = np.nan_to_num(np.maximum(square / n - mean**2, 0.0) * n)
            # Baseline parts share a spread; the incident may change it.
            spread = (own[0] + own[1] + _PRIOR_VARIANCE * _PRIOR_WEIGHT) / (n[0] + n[1] + _PRIOR_WEIGHT)
            spread_now = (own[2] + _PRIOR_VARIANCE * _PRIOR_WEIGHT) / (n[2] + _PRIOR_WEIGHT)
            error = spread / n[:2]
            excess = (mean[0] - mean[1]) ** 2 - error.sum(axis=0)
            both = (n[0] >= 5) & (n[1] >= 5)
            drift = max(float(np.median(excess[both])) if both.any() else 0.0, _MIN_DRIFT**2)
            weight = np.stack([1 / (error[0] + drift), 1 / error[1]])
            weight = np.where(n[:2] > 0, weight, 0.0)
            base = np.nansum(weight * mean[:2], axis=0) / weight.sum(axis=0)
            change = mean[2] - base
            noise = np.sqrt(1 / weight.sum(axis=0) + np.maximum(spread, spread_now) / n[2])
            # One slow visit is no shift, and few tell little of their spread.
            noise = noise * (1 + 2 / n[2] + 2 / n[:2].sum(axis=0))
        known = (n[:2].sum(axis=0) >= _FEWEST) & (n[2] >= _FEWEST)
        # The largest of k chance deviations is about sqrt(2 log k).
        errors = np.sqrt(2 * np.log(max(int(known.sum()), 2)))
        return np.where(known, np.sign(change) * np.maximum(np.abs(change) - errors * noise, 0), np.nan)


class Latency:
    """Services whose own work takes longer, whose calls all stall, or the calls to which are delayed on the way."""

    kind: ClassVar[str] = "latency"

    def __init__(self, visits: Visits) -> None:
        self._visits = visits
        v = visits
        client = np.isin(v.kind, (KIND_CLIENT, KIND_PRODUCER))
        to_peer = client & (v.peer >= 0) & ~v.has_server_child
        # A call whose server span was lost would pass for the caller's own work.
        local = ~to_peer & ~(client & v.has_remote_child) & ~_answered(v) & ~_lacks_children(v)
        above = np.where(v.parent >= 0, v.operation[v.parent], -1)
        self._key, self._first = keys_of(v.service, v.operation, above)
        self._own = Moments.of(v, self._key, len(self._first), local, v.exclusive_ns)
        # A server that calls on without client spans waits for more than this callee: its span says nothing of the way.
        crossing = v.crosses & ~v.is_server[v.parent]
        edge = crossing | to_peer
        caller = np.where(to_peer, v.service, v.service[v.parent])
        callee = np.where(to_peer, v.peer, v.service)
        way = np.where(to_peer, v.operation, v.operation[v.parent])
        self._edge_key, self._edge_first = keys_of(np.where(edge, caller, -1), np.where(edge, callee, -1), way)
        gap = np.where(to_peer, v.duration_ns, v.duration_ns[v.parent] - v.duration_ns)
        self._gap = Moments.of(v, self._edge_key, len(self._edge_first), edge, gap)
        self._caller, self._callee = caller[self._edge_first], callee[self._edge_first]
        # What each way to a callee shows too seldom, all of them together may show.
        self._all_ways = Moments.of(v, callee, len(v.services), edge & (caller != callee), gap)
        self.not_checked = None if len(v) - v.n_quiet >= _MIN_VISITS else f"only {len(v) - v.n_quiet} spans"

    def _decompose(self, split: Split) -> tuple[np.ndarray, np.ndarray, Star]:
        """Return (own shift by service, the key that gave it, the star of the gaps)."""
        n = len(self._visits.services)
        shifts = self._own.shifts(self._visits, split)
        own, key = _largest(np.nan_to_num(shifts), self._visits.service[self._first], n)
        gaps = self._gap.shifts(self._visits, split)
        known = (self._caller >= 0) & (self._callee >= 0) & (self._caller != self._callee)
        told = np.bincount(self._callee[known & np.isfinite(gaps)], minlength=n) > 0
        together = self._all_ways.shifts(self._visits, split)
        gaps = np.where(known & ~told[self._callee], together[self._callee], gaps)
        known &= np.isfinite(gaps)
        pair, first = keys_of(self._caller[known], self._callee[known])
        best = np.full(len(first), -np.inf)
        np.maximum.at(best, pair, gaps[known])
        caller, callee = self._caller[known][first], self._callee[known][first]
        timed = np.bincount(self._visits.service[self._first][np.isfinite(shifts)], minlength=n) > 0
        star = star_of(caller, callee, best, n, well=timed & (own < _WELL))
        # A lost client span leaves its time to the caller: what an edge shows more clearly is not the caller's own.
        ahead = np.zeros(n)
        np.maximum.at(ahead, caller, best - star.out[caller])
        return np.where(ahead > own, 0.0, own), key, star

    def score(self, split: Split) -> np.ndarray:
        """Return nats by service: five times the largest of the three shifts of log time, beyond the weather."""
        own, _, star = self._decompose(split)
        return _NATS_PER_LOG * _beyond_weather(np.maximum(np.maximum(own, star.out), np.maximum(star.incoming, 0.0)))

    def tell(self, split: Split, service: int) -> Told:
        """Name the operation, the stalled caller or the delayed edge."""
        names, visits = self._visits.services, self._visits
        shifts, key, star = self._decompose(split)
        name, own, out, incoming = names[service], shifts[service], star.out[service], star.incoming[service]
        if own >= max(out, incoming):
            operation = visits.operations[visits.operation[self._first[key[service]]]]
            return Told(
                f"{operation}: its own work takes x{np.exp(own):.1f} longer, beyond noise",
                name,
                operation=operation,
                indicator="latency",
            )
        if out >= incoming:
            return Told(
                f"all its calls stall: x{np.exp(out):.1f} longer on the way, beyond noise", name, indicator="network"
            )
        caller = names[star.caller[service]]
        if not (visits.service == service).any():
            # Of a callee without spans the way there and the work are one.
            return Told(f"calls from {caller} take x{np.exp(incoming):.1f} longer", name, indicator="latency")
        return Told(
            f"calls from {caller} take x{np.exp(incoming):.1f} longer on the way",
            f"{caller} -> {name}",
            "edge",
            indicator="network",
        )


def _beyond_weather(shifts: np.ndarray) -> np.ndarray:
    """Return shifts (n_services,) less the largest one that two other services exceed, at least 0."""
    if len(shifts) <= _AT_ONCE + 1:
        return shifts
    lowest_first = np.sort(shifts)
    level, next_level = lowest_first[-1 - _AT_ONCE], lowest_first[-2 - _AT_ONCE]
    return np.asarray(np.maximum(shifts - np.where(shifts >= level, next_level, level), 0.0))


def _largest(values: np.ndarray, group: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the largest value (at least 0) by group, and its index, -1 for none; groups below 0 are left out."""
    order = np.argsort(values, kind="stable")
    order = order[group[order] >= 0]
    index = np.full(n, -1)
    index[group[order]] = order  # the last one written is the largest
    top = np.where(index >= 0, values[index] if len(values) else 0.0, 0.0)
    return np.maximum(top, 0.0), index


def _lacks_children(visits: Visits) -> np.ndarray:
    """Return, where spans are lost, the visits with fewer children than usual: their time passes for the parent's."""
    if visits.orphans < MANY_ORPHANS:
        return np.zeros(len(visits), bool)
    children = np.bincount(visits.parent[visits.parent >= 0], minlength=len(visits))
    key, first = keys_of(visits.service, visits.operation)
    return np.asarray(children < quantile_by(children, key, len(first), 0.5)[key])


def _answered(visits: Visits) -> np.ndarray:
    """Return the visits of operations that call another service as a rule: clients, whether or not a kind says so."""
    key, first = keys_of(visits.service, visits.operation)
    share = np.bincount(key, visits.has_remote_child, len(first)) / np.bincount(key, minlength=len(first))
    return np.asarray((share >= _AS_A_RULE)[key] & ~visits.is_server)
