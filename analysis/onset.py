"""When it began: a search over split points, since the alert comes late and the recorded time may be wrong.

A split divides an incident's telemetry in a baseline and an incident part. Evidence is weighed at every split of a grid
around the alert, and the onset is the split under which it is strongest: the posterior of origin and onset together,
with a prior that falls with the distance from the alert.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SECOND_NS = 10**9
MINUTE_NS = 60 * SECOND_NS
EARLIEST_NS = 15 * MINUTE_NS  # before the alert
LATEST_NS = 5 * MINUTE_NS  # after it
BASELINE_NS = 30 * MINUTE_NS
INCIDENT_NS = 10 * MINUTE_NS
# An alert comes after its onset more often than before it.
_SCALE_BEFORE_NS = 2 * MINUTE_NS
_SCALE_AFTER_NS = MINUTE_NS
_FINEST_NS = 10 * SECOND_NS
_FINE_NS = 2 * MINUTE_NS
_COARSE_STEPS = 3
_FEW_SPLITS = 40


@dataclass(frozen=True, slots=True)
class Split:
    """Baseline ``[start_ns, onset_ns)`` and incident ``[onset_ns, end_ns)``; ``log_prior`` in nats, 0 at the alert."""

    start_ns: int
    onset_ns: int
    end_ns: int
    log_prior: float


def grid(alert_ns: int, start_ns: int, end_ns: int, *, step_ns: int = _FINEST_NS, quiet: bool = False) -> list[Split]:
    """Return the splits to try, in time order; telemetry covers ``[start_ns, end_ns)``.

    Many are dense near the alert only. ``step_ns`` is the resolution of the telemetry; ``quiet`` tells that a quiet
    recording exists, so that a split with no baseline of its own is possible. At least a step lies on each side of a
    split (none before it with ``quiet``); if the alert is outside the telemetry, the nearest split that remains is
    returned.
    """
    step = max(step_ns, _FINEST_NS)
    first, last = (start_ns if quiet else start_ns + step), end_ns - step
    if last < first:
        onsets = np.array([np.clip(alert_ns, start_ns, end_ns)], "i8")
    else:
        # Splits fall on the telemetry's own steps, and on the alert.
        number = np.arange((last - start_ns) // step + 1)
        onsets = np.append(start_ns + number * step, alert_ns)
        away = onsets - alert_ns
        fine = (np.abs(away) <= _FINE_NS) | (np.append(number, 0) % _COARSE_STEPS == 0) | (step > _FINE_NS // 2)
        near = (away >= -EARLIEST_NS) & (away <= LATEST_NS) & (onsets >= first) & (onsets <= last)
        # A short recording has few splits: all are tried, however far the alert is off.
        near &= fine | (near.sum() <= _FEW_SPLITS)
        onsets = np.unique(onsets[near]) if near.any() else np.array([np.clip(alert_ns, first, last)], "i8")
    return [
        Split(
            max(start_ns, int(t) - BASELINE_NS), int(t), min(end_ns, int(t) + INCIDENT_NS), log_prior(int(t), alert_ns)
        )
        for t in onsets
    ]


def log_prior(onset_ns: int, alert_ns: int) -> float:
    """Return the log prior of an onset, in nats relative to the alert time itself.

    >>> log_prior(0, 0), log_prior(0, 120 * 10**9), log_prior(60 * 10**9, 0)
    (0.0, -1.0, -1.0)
    """
    distance = onset_ns - alert_ns
    return -distance / _SCALE_AFTER_NS if distance > 0 else distance / _SCALE_BEFORE_NS
