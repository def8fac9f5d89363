"""The metrics of a case as evidence reads them: what a series measures, and how far it moved beyond its own noise."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ..metrics import to_metrics
from ..onset import BASELINE_NS, EARLIEST_NS, INCIDENT_NS, LATEST_NS, MINUTE_NS, Split

# What a series measures, by its name, the first match counts. The words are those of exporters and public data sets.
_ROLES = (
    ("cpu", r"cpu|throttl"),
    ("memory", r"mem|heap|rss|working.?set|swap"),
    ("disk", r"disk|filesystem|(?:^|[^a-z])fs(?:[^a-z]|$)|blk|hdd|inode"),
    ("success", r"success|availab"),
    ("error", r"error|fail|fault|exception|[45]xx|timeout|refused"),
    ("latency", r"latenc|duration|response.?time|elapsed|(?:^|[^a-z])p(?:50|9\d)(?:[^0-9]|$)"),
    ("socket", r"sock|connection|file.?desc|(?:^|[^a-z])fds?(?:[^a-z]|$)|thread|queue|pool"),
    ("network", r"network|receive|transmit|packet|bytes"),
    (
        "rate",
        r"workload|traffic|request|(?:^|[^a-z])(?:rps|qps|tps|ops|load|rate|count|calls|hits)(?:[^a-z]|$)|throughput",
    ),
)
RESOURCES = ("cpu", "memory", "disk", "socket")
# What a caller measures of its own calls speaks of its callees.
CLIENT_SIDE = r"(?i)client|outbound|upstream"
_OF_A_NODE = r"(?i)(?:^|[^a-z])node|^node"
_RELATIVE = r"(?i)%|percent|ratio|utili[sz]ation|(?:^|[^a-z])rate[^a-z]*%"
_COUNTER = r"(?i)(?:total|sum|count)$"
_ENOUGH_STEPS, _RESETS = 10, 0.05
_LONGEST_QUIET = 2000  # columns
_SETTLED_NS = 5 * MINUTE_NS  # of the incident; later than that recovery and repair set in
_MIN_BASELINE = 3
# Two recordings of one system differ by this many of its noises at least.
_MIN_DRIFT = 0.5
_NOISE = 2.0
# The smallest value that counts, as a share of what same-named series usually read over all services.
_FLOOR = 0.1
_SOME = 2.0  # of what is counted
_MAX_USAGE = 0.99
# From so many series on, the search for the onset looks at every fourth split first.
_FEW_SERIES, _COARSE, _BLOCK = 2000, 4, 1000
T = TypeVar("T")


@dataclass(frozen=True)
class Series:
    """``values`` (n, n_times) around the alert and ``quiet`` (n, n_quiet) of elsewhere, both transformed to log units.

    Usage relative to a limit becomes -log(1 - usage), the headroom lost; everything else log(x + floor). ``role`` is
    what a series measures, ``service`` and ``peer`` are codes, -1 unknown; ``raw`` keeps the values as they came.
    """

    values: np.ndarray
    raw: np.ndarray
    quiet: np.ndarray
    quiet_raw: np.ndarray
    time_ns: np.ndarray
    step_ns: int
    name: np.ndarray
    role: np.ndarray
    relative: np.ndarray
    service: np.ndarray
    peer: np.ndarray
    pod: np.ndarray
    node: np.ndarray
    asked_ns: np.ndarray | None = None  # (k,), onsets of splits that were looked at first
    still: np.ndarray | None = None  # (k, n), does not move there

    def __len__(self) -> int:
        return len(self.name)

    @cached_property
    def own(self) -> np.ndarray:
        """The rows that a service measures of itself, not of one of its edges, as a mask."""
        return np.asarray((self.service >= 0) & (self.peer < 0))

    @cached_property
    def served(self) -> np.ndarray:
        """The rows of ``own`` that do not speak of the calls that the service makes."""
        client = matches(self.name, CLIENT_SIDE)
        return np.asarray(self.own & ~client)

    def after(self, split: Split) -> slice:
        """Return the columns of the incident: five minutes from the onset, at least two steps.

        Spans may end before the metrics do, so the split's end is no limit.
        """
        end = split.onset_ns + max(_SETTLED_NS, 2 * self.step_ns)
        low, high = np.searchsorted(self.time_ns, [split.onset_ns, end])
        return slice(int(low), int(high))

    def before(self, split: Split) -> slice:
        """Return the columns of the baseline that precede the onset."""
        low, high = np.searchsorted(self.time_ns, [split.onset_ns - BASELINE_NS, split.onset_ns])
        return slice(int(low), int(high))

    def restless(self, rows: np.ndarray) -> np.ndarray:
        """Return those of ``rows`` that may move: the others have no shift and no rise at any split."""
        return rows if self.still is None else np.asarray(rows[~self.still[:, rows].all(axis=0)])

    def screened(self, splits: Sequence[Split]) -> Series:
        """Return the series with a mark for those that stay within one noise at a quarter of the ``splits``.

        At a split between two such they would not rise beyond two noises either. Few series are not marked.
        """
        if len(self) <= _FEW_SERIES or len(splits) <= 2 * _COARSE:
            return self
        asked = [*splits[::_COARSE], splits[-1]]

        def still(block: slice) -> np.ndarray:
            rows = np.arange(len(self))[block]
            return ~np.stack([self._moved(split, rows) for split in asked])

        onsets = np.array([split.onset_ns for split in asked])
        return replace(self, asked_ns=onsets, still=np.concatenate(_each_block(still, len(self)), axis=1))

    def _is_still(self, split: Split, rows: np.ndarray) -> np.ndarray | None:
        """Return which ``rows`` are known not to move at this split, None where none is."""
        if self.still is None or self.asked_ns is None:
            return None
        place = int(np.searchsorted(self.asked_ns, split.onset_ns))
        last = len(self.asked_ns) - 1
        return np.asarray(self.still[max(place - 1, 0), rows] & self.still[min(place, last), rows])

    def _moved(self, split: Split, rows: np.ndarray) -> np.ndarray:
        shift, noise = self._moves(split, rows)
        return np.asarray(~(np.abs(shift) <= noise))  # unknown is not still

    def moves(self, split: Split, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (shift, noise) of ``rows`` in log units: the median's change, and one robust standard deviation.

        The baseline's centre is the precision-weighted one of the quiet recording and of what precedes the onset; NaN
        with fewer than three known values before or none after. A constant series has no noise but a floor of 1 %.
        """
        still = self._is_still(split, rows)
        if still is not None:
            shift, noise = np.zeros(len(rows)), np.zeros(len(rows))
            shift[~still], noise[~still] = self._moves(split, rows[~still])
            return shift, noise
        return self._moves(split, rows)

    def _moves(self, split: Split, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        after = median(self.values[rows, self.after(split)])
        before, quiet = self.values[rows, self.before(split)], self.quiet[rows]
        n = np.stack([np.isfinite(quiet).sum(axis=1), np.isfinite(before).sum(axis=1)]).astype(float)
        centre = np.stack([median(quiet), median(before)])
        spread = np.stack([spread_of(quiet, centre[0]), spread_of(before, centre[1])])
        base, noise = baseline_of(n, centre, spread, np.full(len(after), 0.01))
        known = (n.sum(axis=0) >= _MIN_BASELINE) & np.isfinite(after)
        return np.where(known, after - base, np.nan), np.where(known, noise, np.nan)

    def rises(self, split: Split, rows: np.ndarray, sign: float = 1.0) -> np.ndarray:
        """Return the shift of ``rows`` in the direction of ``sign``, in log units less two noises; 0 if unknown."""
        shift, noise = self.moves(split, rows)
        return np.nan_to_num(np.maximum(sign * shift - _NOISE * noise, 0.0))


def read_series(
    quiet: tuple[pa.Table, pa.Table], incident: tuple[pa.Table, pa.Table], services: Sequence[str], alert_ns: int
) -> Series | None:
    """Return the series of (series, points) tables; None when the incident has no points near the alert."""
    low, high = alert_ns - EARLIEST_NS - BASELINE_NS, alert_ns + LATEST_NS + INCIDENT_NS
    now = to_metrics(*incident, low, high)
    if not len(now.time_ns):
        return None
    frame = now.series.reset_index(drop=True)
    elsewhere = _away(quiet[1], low, high)
    calm = to_metrics(quiet[0], elsewhere)
    past = np.full((len(frame), min(len(calm.time_ns), _LONGEST_QUIET)), np.nan)
    place = pd.Index(calm.series.series_id).get_indexer(frame.series_id)
    past[place >= 0] = calm.values[place[place >= 0]][:, -past.shape[1] :] if past.shape[1] else past[place >= 0]
    name = frame.name.astype(str).to_numpy(dtype=object)
    role = _roles(name)
    relative = matches(name, _RELATIVE)
    code = {s: i for i, s in enumerate(services)}
    owner = frame.service.map(code).fillna(-1).to_numpy(dtype="i8", copy=True)
    owner[matches(name, _OF_A_NODE)] = -1
    raw = now.values
    for part in (raw, past):
        _to_increases(part, name)
        # No request took no time at all: a latency of 0 says that there was none.
        slow = part[role == "latency"]
        part[role == "latency"] = np.where(slow <= 0, np.nan, slow)
    values, calm_values = _transform(raw, past, name, role, relative)
    peer = frame.peer.map(code).fillna(-1).astype("i8").to_numpy()
    pod, node = (frame[of].astype(object).to_numpy() for of in ("pod", "node"))
    return Series(
        values, raw, calm_values, past, now.time_ns, now.step_ns, name, role, relative, owner, peer, pod, node
    )


def baseline_of(
    n: np.ndarray, centre: np.ndarray, spread: np.ndarray, floor: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return (centre, noise) of a baseline with a quiet part and one that precedes the onset; shape (n_series,).

    The arguments have shape (2, n_series), quiet first: known values, their centre, their spread. The quiet part
    carries an extra variance, the drift between recordings, estimated over all series in units of their noise.
    """
    with np.errstate(all="ignore"):
        noise = np.maximum(
            np.sqrt(np.nansum(n * spread**2, axis=0) / np.nansum(n * np.isfinite(spread), axis=0)), floor
        )
        noise = np.where(np.isfinite(noise), noise, floor)
        apart = ((centre[0] - centre[1]) / noise) ** 2 - 1 / n[1]
        both = (n > 0).all(axis=0) & np.isfinite(apart)
        drift = max(float(np.median(apart[both])) if both.any() else 0.0, _MIN_DRIFT**2)
        weight = np.where(n > 0, np.stack([1 / (1 / n[0] + drift), n[1]]), 0.0)
        return np.sum(weight * np.nan_to_num(centre), axis=0) / weight.sum(axis=0), noise


@lru_cache(10_000)
def role_of(name: str) -> str:
    """Return what a series of this name measures.

    >>> role_of("container-cpu-usage"), role_of("latency-90"), role_of("availability")
    ('cpu', 'latency', 'success')
    """
    return str(_roles(np.array([name], dtype=object))[0])


def matches(names: np.ndarray, pattern: str) -> np.ndarray:
    """Return which names hold the pattern, as a mask; each distinct name is looked at once."""
    code, distinct = pd.factorize(names)
    return np.asarray(pd.Series(distinct.astype(str)).str.contains(pattern).to_numpy(dtype=bool)[code])


def _away(points: pa.Table, low: int, high: int) -> pa.Table:
    return points.filter(pc.or_(pc.less(points["time_ns"], low), pc.greater_equal(points["time_ns"], high)))


def _roles(names: np.ndarray) -> np.ndarray:
    inverse, unique = pd.factorize(names)
    text = pd.Series(unique.astype(str)).str.lower()
    role = np.full(len(unique), "other", dtype=object)
    for label, pattern in reversed(_ROLES):
        role[text.str.contains(pattern).to_numpy(dtype=bool)] = label
    return np.asarray(role[inverse])


def _to_increases(values: np.ndarray, names: np.ndarray) -> None:
    """Turn gauges that are counters by name and by growing only into increases per step, in place."""
    rows = np.flatnonzero(matches(names, _COUNTER))
    with np.errstate(all="ignore"):
        step = np.diff(values[rows], axis=1, prepend=np.nan)
        known = np.isfinite(step).sum(axis=1)
        falls, grows = (step < 0).sum(axis=1), (step > 0).sum(axis=1)
    counter = (known >= _ENOUGH_STEPS) & (falls <= _RESETS * known) & (grows > 0)
    values[rows[counter]] = np.where(step[counter] < 0, np.nan, step[counter])


def _transform(
    raw: np.ndarray, quiet: np.ndarray, name: np.ndarray, role: np.ndarray, relative: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return both matrices in log units; floors are shared by all series of one name, so that units cancel."""
    usual = np.fmax(_by_block(_usual, raw), _by_block(_usual, quiet))
    largest = np.fmax(_by_block(_largest, raw), _by_block(_largest, quiet))
    group, _ = pd.factorize(name)
    typical = pd.Series(np.where(usual > 0, usual, np.nan)).groupby(group).median().to_numpy()
    top = pd.Series(np.where(np.isfinite(largest), largest, 0.0)).groupby(group).max().to_numpy()
    floor = np.where(np.isfinite(typical), _FLOOR * typical, 0.01 * np.maximum(top, 0.0))
    # A name whose values are all zero needs no floor; any positive number keeps the logarithm finite.
    small = np.where(floor[group] > 0, floor[group], 1.0)
    resource = np.isin(role, RESOURCES)
    # Of what is counted in whole numbers, one more than none is no growth without bounds.
    fine = np.flatnonzero(resource & (small < _SOME))
    broken = np.bincount(group[fine], ((raw[fine] % 1.0) > 0).any(axis=1), len(floor))  # NaN is not above 0
    small[fine] = np.where(broken[group[fine]] > 0, small[fine], _SOME)
    small = small[:, None]
    limited = relative & resource
    failing = role == "success"
    unit = np.where(largest > 1.5, 100.0, 1.0)[:, None]

    def to_log(x: np.ndarray) -> np.ndarray:
        logs = np.empty_like(x)

        def write(block: slice) -> None:
            part, full, few, bad = x[block], unit[block], limited[block], failing[block]
            with np.errstate(all="ignore"):
                logs[block] = np.log(np.maximum(part, 0.0) + small[block])
                logs[block][few] = -np.log1p(-np.clip(part[few] / full[few], 0.0, _MAX_USAGE))
                logs[block][bad] = np.log(np.clip(1 - part[bad] / full[bad], 0.0, 1.0) + 0.01)

        _each_block(write, len(x))
        return logs

    return to_log(raw), to_log(quiet)


def _each_block(compute: Callable[[slice], T], n: int) -> list[T]:
    """Return what ``compute`` makes of blocks of ``n`` rows, in order; each fits a processor's cache, one a thread."""
    blocks = [slice(at, at + _BLOCK) for at in range(0, n, _BLOCK)]
    if len(blocks) < 2:
        return [compute(block) for block in blocks]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(compute, blocks))


def _by_block(compute: Callable[[np.ndarray], np.ndarray], values: np.ndarray) -> np.ndarray:
    return np.concatenate(_each_block(lambda block: compute(values[block]), len(values)) or [np.empty(0)])


def _usual(values: np.ndarray) -> np.ndarray:
    return median(np.abs(values))


def _largest(values: np.ndarray) -> np.ndarray:
    if not values.shape[1]:
        return np.full(len(values), np.nan)
    return np.asarray(np.where(np.isfinite(values), values, -np.inf).max(axis=1))


def median(values: np.ndarray) -> np.ndarray:
    """Return the median of each row over its known values, NaN where there is none; shape (n,)."""
    return quantiles(values, 0.5)[0]


def quantiles(values: np.ndarray, *shares: float) -> list[np.ndarray]:
    """Return quantiles of each row over its known values, interpolated; NaN for none; shape (n,) each."""
    if not values.shape[1]:
        return [np.full(len(values), np.nan) for _ in shares]
    # Sorting rows is several times as fast as partitioning them: numpy sorts with vector instructions.
    ordered = np.sort(values, axis=1)  # NaN last
    if np.isfinite(ordered[:, [0, -1]]).all():
        return [_between(ordered, (values.shape[1] - 1) * share) for share in shares]
    last, row = np.maximum(np.isfinite(values).sum(axis=1) - 1, 0), np.arange(len(values))
    found = []
    for share in shares:
        low = (last * share).astype("i8")
        low_value, high_value = ordered[row, low], ordered[row, np.minimum(low + 1, last)]
        found.append(low_value + (high_value - low_value) * (last * share - low))
    return found


def _between(ordered: np.ndarray, place: float) -> np.ndarray:
    low = int(place)
    high = min(low + 1, ordered.shape[1] - 1)
    return np.asarray(ordered[:, low] + (ordered[:, high] - ordered[:, low]) * (place - low))


def spread_of(values: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Return a robust standard deviation by row, NaN with fewer than two known values.

    It is the larger of the scaled MAD and the scaled 90 % quantile of the deviations: a series that visits a second
    level now and then is at home there.
    """
    away = values - centre[:, None]
    np.abs(away, out=away)
    middle, far = quantiles(away, 0.5, 0.9)
    with np.errstate(invalid="ignore"):
        spread = np.maximum(1.4826 * middle, far / 1.645)
    return np.where(np.isfinite(away).sum(axis=1) > 1, spread, np.nan)
