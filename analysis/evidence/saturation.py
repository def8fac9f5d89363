"""Resources of a service against their own past: headroom lost where a limit is known, else growth.

Growth that the service's own requests explain is traffic, not a cause. A pod that now takes most of its node's
processor time keeps its neighbours waiting, however far it is from a limit of its own: what they show is its doing.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ..onset import Split
from .contention import Contention
from .finding import Told
from .series import RESOURCES, Series, matches

# A tenfold growth of a resource, or nine tenths of its headroom lost, is about seven nats.
_NATS_PER_LOG = 3.0
# Requests that wait to be answered pile up where a resource is short: no traffic that explains it.
_IN_FLIGHT = r"(?i)active|in.?flight|in.?progress|pending|concurren|outstanding"
_WAITING_NATS = 5.0  # at most so many against a service that stands beside one that takes the processor


class Saturation:
    """Services that use up a resource: CPU, memory, disk, sockets, threads, queues."""

    kind: ClassVar[str] = "saturation"

    def __init__(self, series: Series, services: list[str]) -> None:
        self._series, self._services = series, services
        resource = np.isin(series.role, RESOURCES) & series.own
        # What is measured against a limit says more than the bare amount of the same resource.
        limited = {
            (s, r)
            for s, r in zip(
                series.service[resource & series.relative], series.role[resource & series.relative], strict=True
            )
        }
        bare = np.array([(s, r) in limited for s, r in zip(series.service, series.role, strict=True)], bool)
        rows = np.flatnonzero(resource & (series.relative | ~bare))
        self.not_checked = None if len(rows) else "no metric of a resource that belongs to a service"
        self._contention = Contention.of(series)
        rows = np.union1d(rows, self._contention.rows)
        self._rows = series.restless(rows)
        # A bare amount beside a limit counts while it is most of its node's alone.
        self._only_if_taken = bare[self._rows] & ~series.relative[self._rows]
        traffic = (series.role == "rate") & series.own
        self._rates = series.restless(np.flatnonzero(traffic & ~matches(series.name, _IN_FLIGHT)))

    def _growth(self, split: Split) -> tuple[np.ndarray, np.ndarray]:
        """Return (growth in log units by row, which rows of the series take most of their node's processor time)."""
        n = len(self._services)
        rise = self._series.rises(split, self._rows)
        traffic = np.zeros(n)
        rates = self._rates
        if self._series.still is not None:  # of many series only those whose traffic matters: where something grew
            rates = rates[np.isin(self._series.service[rates], self._series.service[self._rows[rise > 0]])]
        shift, noise = self._series.moves(split, rates)
        np.maximum.at(traffic, self._series.service[rates], np.nan_to_num(np.maximum(shift - noise, 0.0)))
        takers = self._contention.takers(split, self._rows[rise > 0])
        rise = np.where(self._only_if_taken & ~np.isin(self._rows, takers), 0.0, rise)
        return np.maximum(rise - traffic[self._series.service[self._rows]], 0.0), takers

    def score(self, split: Split) -> np.ndarray:
        """Return nats by service: three times the largest growth in log units; less for who waits for a neighbour."""
        score = np.zeros(len(self._services))
        growth, takers = self._growth(split)
        np.maximum.at(score, self._series.service[self._rows], growth)
        nats = _NATS_PER_LOG * score
        return np.asarray(nats - np.minimum(self._contention.waiting(takers, nats), _WAITING_NATS))

    def tell(self, split: Split, service: int) -> Told:
        """Name the series that grew most, with its medians."""
        series = self._series
        best = int(np.argmax(np.where(series.service[self._rows] == service, self._growth(split)[0], -1.0)))
        row = self._rows[best]
        before = series.raw[row, series.before(split)]
        before = before if np.isfinite(before).any() else series.quiet_raw[row]
        now = series.raw[row, series.after(split)]
        # A total is known by its increases per step.
        is_total = str(series.name[row]).lower().endswith("_total")
        per, unit = (series.step_ns / 1e9, "/s") if is_total else (1.0, "")
        old, new = (f"{_short(float(np.nanmedian(part)) / per)}{unit}" for part in (before, now))
        text = f"{series.name[row]} {old} before, {new} now"
        pods = {p for p in series.pod[series.service == service] if isinstance(p, str)}
        role, pod = str(series.role[row]), series.pod[row]
        if isinstance(pod, str) and len(pods) > 1:
            return Told(text, pod, "pod", indicator=role)
        return Told(text, self._services[service], indicator=role)


def _short(value: float) -> str:
    """Return a number as people read it: no exponent below a million million, four digits otherwise."""
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e12 else f"{value:.4g}"
