"""Instances that metrics show down: a failing target or probe, a pod not ready, restarts, all series gone."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pandas as pd

from ..onset import Split
from .bayes import log_bayes_factor
from .finding import Told
from .series import Series, matches
from .visits import keys_of

# 1 is well, 0 is down: Prometheus' own series of a target, probes, readiness.
_UP = r"(?i)(?:^|[^a-z])(?:up|ready|probe_success)$"
_RESTARTS = r"(?i)restart"
_RESTART_NATS = 4.0


class Availability:
    """Services with fewer instances up than before; an instance is a pod, or the service where no pod is named."""

    kind: ClassVar[str] = "availability"

    def __init__(self, series: Series, services: list[str]) -> None:
        self._series, self._services = series, services
        own = np.flatnonzero(series.own)
        self.not_checked = None if len(own) else "no metric belongs to a service"
        pod = pd.factorize(series.pod.astype(object))[0]
        instance, first = keys_of(series.service[own], pod[own])
        order = np.argsort(instance, kind="stable")
        starts = np.searchsorted(instance[order], np.arange(len(first)))
        known = np.isfinite(series.raw)[own[order]]
        reports = np.logical_or.reduceat(known, starts, axis=0) if len(own) else known
        says_up = np.flatnonzero(matches(series.name[own], _UP))
        down = np.zeros_like(reports)
        np.logical_or.at(down, instance[says_up], series.raw[own[says_up]] <= 0)
        self._up = np.zeros((len(services), series.raw.shape[1]))
        np.add.at(self._up, series.service[own[first]], (reports & ~down).astype(float))
        self._restarts = np.zeros_like(self._up)
        again = own[matches(series.name[own], _RESTARTS)]
        np.add.at(self._restarts, series.service[again], np.nan_to_num(np.maximum(series.raw[again], 0.0)))

    def _counts(self, split: Split) -> tuple[np.ndarray, np.ndarray, int, int, np.ndarray]:
        """Return by service the steps with all usual instances up, before and after, and the restarts after."""
        before, after = self._series.before(split), self._series.after(split)
        earlier, later = self._up[:, before], self._up[:, after]
        n, n_after = earlier.shape[1], later.shape[1]
        if not n or not n_after:
            nothing = np.zeros(len(self._services))
            return nothing, nothing, n, n_after, nothing
        usual = np.median(earlier, axis=1)
        whole, whole_after = ((part >= usual[:, None]).sum(axis=1) for part in (earlier, later))
        restarts = np.where(self._restarts[:, before].sum(axis=1) > 0, 0.0, self._restarts[:, after].sum(axis=1))
        return np.where(usual > 0, whole, 0), whole_after, n, n_after, restarts

    def score(self, split: Split) -> np.ndarray:
        """Return nats by service: that fewer steps have all instances up, and four for the first restart."""
        whole, whole_after, n, n_after, restarts = self._counts(split)
        if not n or not n_after:
            return np.zeros(len(whole))
        ones = np.ones(len(whole))
        factor = log_bayes_factor(whole, n * ones, whole_after, n_after * ones)
        down = np.where((whole > 0) & (whole_after / n_after < whole / n), np.maximum(factor, 0.0), 0.0)
        return np.asarray(np.maximum(down, _RESTART_NATS * (restarts > 0)))

    def tell(self, split: Split, service: int) -> Told:
        """Say in which share of the time its instances were up, or how often they restarted."""
        whole, whole_after, n, n_after, restarts = self._counts(split)
        if restarts[service] > 0:
            text = f"restarted {restarts[service]:.0f} times, never before"
        else:
            shares = f"{whole[service] / n:.0%} of the time before, {whole_after[service] / n_after:.0%} now"
            text = f"all its instances are up in {shares}"
        return Told(text, self._services[service])
