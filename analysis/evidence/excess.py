"""Residual excess: the time, or the failed requests, that a service adds beyond what its callees add.

The excess of a node is its change of latency x requests (or of failed requests); less the sum over its callees it is
additive along the call graph, so that the parts sum to what is felt at the symptom.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from ..onset import Split
from ..request_metrics import ERRORS, LATENCY, REQUESTS
from .finding import Told
from .series import CLIENT_SIDE, Series, baseline_of, median, quantiles, spread_of

_NATS = 6.0  # of a node that explains the whole excess
_NOISE = 3.0
# The noise of a baseline has a floor of 1 % of it, 10 % while fewer than five values are known.
_SURE, _UNSURE, _FEW = 0.01, 0.1, 5
_FAR, _FAR_SIGMAS = 0.95, 1.96
_PREFERRED = ("average", "mean", "avg", "p50", "50", "p90", "90", "p95", "95", "p99", "99")


class Excess:
    """Nodes that add the excess felt at the symptom, weighed by requests along the call graph."""

    kind: ClassVar[str] = "excess"

    def __init__(
        self,
        series: Series,
        services: list[str],
        calls: np.ndarray,
        traced: np.ndarray,
        symptom: int | None,
        signal: str | None,
        splits: Sequence[Split],
    ) -> None:
        """``calls`` (n, n) is true where the row calls the column; ``symptom`` is the entity that hurts, if known.

        ``splits`` are those that will be asked for: what a node adds counts against the largest excess of any of them.
        """
        self._series, self._services, self._calls, self._symptom = series, services, calls, symptom
        n = len(services)
        self._latency, self._rate = self._pick("latency", n), self._pick("rate", n)
        self._success, self._errors = self._pick("success", n), self._pick("error", n)
        self._edges = {"latency": self._called_rows(LATENCY), "failures": self._called_rows(ERRORS)}
        self._modes = [m for m in ("latency", "failures") if signal is None or _speaks_of(signal) in (None, m)]
        counted = (self._rate >= 0) & ((self._latency >= 0) | (self._success >= 0) | (self._errors >= 0))
        counted[[callee for edges in self._edges.values() for callee, _, _ in edges]] = True
        counted &= ~traced
        reason = (
            "no graph of calls"
            if not calls.any()
            else "fewer than two services without spans tell both requests and latency or errors"
        )
        spans_tell = 2 * (traced & (self._rate >= 0)).sum() > (self._rate >= 0).sum()
        self.not_checked = None if counted.sum() >= 2 and calls.any() and not spans_tell else reason
        self._total = dict.fromkeys(self._modes, 0.0)
        if self.not_checked is None:
            for mode in self._modes:
                self._total[mode] = max((self._residuals(mode, split)[1] for split in splits), default=0.0)

    def _pick(self, role: str, n: int) -> np.ndarray:
        """Return the series of each service that speaks of ``role``: the mean where there is one; -1 without any."""
        series, chosen = self._series, np.full(n, -1)
        rows = np.flatnonzero((series.role == role) & series.own)
        # Many services report the same names: each name is judged once.
        names, of_row = np.unique(series.name[rows].astype(str), return_inverse=True)

        def order(name: str) -> tuple[bool, int, str]:
            name = name.lower()
            # What a service itself serves says more of it than what it sees of others.
            return (
                bool(re.search(CLIENT_SIDE, name)),
                next((i for i, word in enumerate(_PREFERRED) if word in name), len(_PREFERRED)),
                name,
            )

        place = np.empty(len(names), "i8")
        place[sorted(range(len(names)), key=lambda i: order(str(names[i])))] = np.arange(len(names))
        last_wins = rows[np.argsort(-place[of_row], kind="stable")]
        chosen[series.service[last_wins]] = last_wins
        return chosen

    def _called_rows(self, what: str) -> list[tuple[int, int, int]]:
        """Return (callee, row of the requests, row of ``what``) for each edge whose caller counts requests."""
        series = self._series
        edges = np.flatnonzero((series.service >= 0) & (series.peer >= 0))
        row_of = {(series.service[r], series.peer[r], str(series.name[r])): int(r) for r in edges}
        pairs = []
        for (caller, callee, name), rate in sorted(row_of.items()):
            part = row_of.get((caller, callee, name.removesuffix(REQUESTS) + what))
            if name.endswith(REQUESTS) and part is not None:
                pairs.append((int(callee), rate, part))
        return pairs

    def _mass(self, mode: str, raw: np.ndarray) -> np.ndarray:
        """Return seconds (or failed requests) per step by service and column, NaN where unknown.

        What callers measure of their calls counts where it is more: an answer that is lost or late on its way.
        """
        return np.asarray(np.fmax(self._served(mode, raw), self._called(mode, raw)))

    def _called(self, mode: str, raw: np.ndarray) -> np.ndarray:
        """Return the same as the callers of each service measure it, summed over them."""
        total, known = np.zeros((2, len(self._services), raw.shape[1]))
        for callee, rate, part in self._edges[mode]:
            mass = np.where(raw[rate] == 0, 0.0, raw[part] * raw[rate] if mode == "latency" else raw[part])
            total[callee] += np.nan_to_num(mass)
            known[callee] += np.isfinite(mass)
        return np.where(known > 0, total, np.nan)

    def _served(self, mode: str, raw: np.ndarray) -> np.ndarray:
        rate = _rows(raw, self._rate)
        if mode == "latency":
            latency = _rows(raw, self._latency)
            return np.where(rate == 0, 0.0, latency * rate)
        success, errors = _rows(raw, self._success), _rows(raw, self._errors)
        unit = 100.0 if np.nanmax(success, initial=0.0) > 1.5 else 1.0
        return np.where(np.isfinite(success), (1 - success / unit) * rate, np.where(rate == 0, 0.0, errors))

    def _residuals(self, mode: str, split: Split) -> tuple[np.ndarray, float]:
        """Return (what each node adds itself, the excess felt); only odd nodes reached from the symptom add.

        What is felt at the symptom (at the entries while it is unknown) is at least what would be noticed there.
        """
        series = self._series
        now, past = self._mass(mode, series.raw), self._mass(mode, series.quiet_raw)
        parts = [past, now[:, series.before(split)]]
        n = np.stack([np.isfinite(part).sum(axis=1) for part in parts]).astype(float)
        centre = np.stack([median(part) for part in parts])
        spread = np.stack([_spread(part, c) for part, c in zip(parts, centre, strict=True)])
        few = n.sum(axis=0) < _FEW
        floor = np.where(few, _UNSURE, _SURE) * np.nan_to_num(np.nanmax(np.abs(np.nan_to_num(centre)), axis=0))
        base, noise = baseline_of(n, centre, spread, floor)
        # Failures that were never recorded were none; an unknown latency is unknown.
        base = np.where(n.sum(axis=0) > 0, base, 0.0 if mode == "failures" else np.nan)
        excess = np.nan_to_num(_mean(now[:, series.after(split)]) - base)
        odd = excess > _NOISE * noise
        excess = np.where(odd, excess, 0.0)
        reached = self._reach(odd)
        own = np.maximum(excess - self._calls @ excess, 0.0) * reached
        felt = _NOISE * noise + np.where(odd, excess, 0.0)
        felt = felt[self._symptom] if self._symptom is not None else felt[~self._calls.any(axis=0)].max(initial=0.0)
        # What is barely beyond noise counts little.
        return np.maximum(own - _NOISE * noise, 0.0), max(float(own.sum()), float(felt))

    def _shares(self, mode: str, split: Split) -> np.ndarray:
        total = self._total[mode]
        return self._residuals(mode, split)[0] / total if total > 0 else np.zeros(len(self._services))

    def _reach(self, odd: np.ndarray) -> np.ndarray:
        """Return the nodes that are reached from the symptom through odd ones; without a symptom from any odd node."""
        if self._symptom is None:
            return odd
        reached = np.zeros(len(odd), bool)
        reached[self._symptom] = True  # it hurts, whether or not its own figures tell
        for _ in range(len(odd)):
            more = reached | (self._calls[reached].any(axis=0) & odd)
            if (more == reached).all():
                break
            reached = more
        return reached

    def score(self, split: Split) -> np.ndarray:
        """Return nats by service: six times the share of the excess that the node adds itself."""
        best = np.zeros(len(self._services))
        for mode in self._modes:
            best = np.maximum(best, self._shares(mode, split))
        return _NATS * best

    def tell(self, split: Split, service: int) -> Told:
        """Say which share of the excess the node adds."""
        shares = {mode: self._shares(mode, split)[service] for mode in self._modes}
        mode = max(shares, key=lambda m: shares[m])
        what = "latency x requests" if mode == "latency" else "failed requests"
        return Told(
            f"adds {shares[mode]:.0%} of the excess {what} that its callees do not explain",
            self._services[service],
            indicator="latency" if mode == "latency" else "error",
        )


def _speaks_of(signal: str) -> str | None:
    from .series import role_of

    return {"latency": "latency", "success": "failures", "error": "failures"}.get(role_of(signal))


def _rows(raw: np.ndarray, index: np.ndarray) -> np.ndarray:
    found = np.full((len(index), raw.shape[1]), np.nan)
    found[index >= 0] = raw[index[index >= 0]]
    return found


def _spread(values: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Return the robust standard deviation, larger where one step in twenty lies far out: a mean feels it."""
    far = quantiles(np.abs(values - centre[:, None]), _FAR)[0] / _FAR_SIGMAS
    return np.asarray(np.fmax(spread_of(values, centre), far))


def _mean(values: np.ndarray) -> np.ndarray:
    n = np.isfinite(values).sum(axis=1)
    return np.where(n > 0, np.nansum(values, axis=1) / np.maximum(n, 1), np.nan)
