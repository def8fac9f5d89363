"""Answers that are pandas frames, and draw themselves with ``.figure()``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .errors import CaseError
from .moments import moment_ns

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from .figures import Panel
    from .moments import Moment

Marks = Mapping[str, "Moment"]
_MOST_PANELS, _MOST_LINES = 8, 6
_BAND = (0.05, 0.95)


class Table(pd.DataFrame):  # type: ignore[misc]  # pandas is untyped here
    """A frame of a kind: selections of its rows draw themselves too."""

    @property
    def _constructor(self) -> type[Table]:
        return type(self)

    def _needs(self, *columns: str) -> None:
        absent = [name for name in columns if name not in self.columns]
        if absent:
            raise CaseError(f"without the columns {', '.join(absent)} there is nothing to draw; it takes all of them")


class Services(Table):
    """A row per service: spans, first_span, last_span, series."""

    def figure(self) -> go.Figure:
        """Return when each service spoke."""
        self._needs("spans", "first_span", "last_span")
        spoke = pd.DataFrame(self[self.spans > 0].reset_index(names="object"))
        spoke = spoke.assign(state=spoke.spans.map("{:,} spans".format), is_bad=False)
        return _states(spoke.rename(columns={"first_span": "start", "last_span": "end"}))


class Symptoms(Table):
    """A row per stretch in which an entry operation hurt: start, end, service, operation, signal, sigmas, text."""

    def figure(self) -> go.Figure:
        """Return when it hurt where."""
        self._needs("service", "operation", "text", "start", "end")
        felt = pd.DataFrame(self).assign(object=self.service + " " + self.operation, state=self.text, is_bad=True)
        return _states(felt)


class Traces(Table):
    """A row per trace, by its id: start, duration_s, entry, operation, spans, errors, services."""

    def figure(self) -> go.Figure:
        """Return durations over time as a heatmap."""
        from .figures import latency_heatmap

        self._needs("start", "duration_s", "errors")
        rows = {
            "start_ns": self.start.astype("datetime64[ns, UTC]").astype("int64"),
            "duration_ns": (self.duration_s * 1e9).round().astype("int64"),
            "is_error": self.errors > 0,
        }
        return latency_heatmap(pd.DataFrame(rows), title=f"{len(self):,} traces", what="traces")


class Metrics(Table):
    """A row per step (UTC), a column per series (name, service, pod, labels)."""

    def figure(self, onset: Moment | None = None, marks: Marks | None = None) -> go.Figure:
        """Return the series as panels, one a metric: at most 8 metrics and 6 series of each, those that moved most.

        With an ``onset`` it is marked, and the band in which the first line of each panel lay before is shaded.
        """
        from .figures import timeline

        onset_ns = None if onset is None else moment_ns(onset)
        lines = {"onset": onset_ns} if onset_ns is not None else {}
        lines |= {label: moment_ns(moment) for label, moment in (marks or {}).items()}
        return timeline(self._panels(onset_ns), lines)

    def _panels(self, onset_ns: int | None) -> list[Panel]:
        from .figures import Panel

        frame = pd.DataFrame(self)
        split = pd.Timestamp(onset_ns, tz="UTC") if onset_ns is not None else None
        # How Prometheus fared when it scraped is no measure of who was scraped.
        moved = _moved(frame.loc[:, ~frame.columns.get_level_values(0).str.startswith("scrape_")], split)
        found = []
        for name, ranked in sorted(
            moved.groupby(level=0, sort=False), key=lambda item: (-float(item[1].max()), str(item[0]))
        )[:_MOST_PANELS]:
            columns = list(ranked.sort_values(ascending=False, kind="stable").index[:_MOST_LINES])
            lines = frame[columns].copy()
            lines.columns = _told_apart(columns)
            quiet = lines.iloc[:, 0] if split is None else lines.iloc[:, 0][lines.index < split]
            known = quiet.dropna()
            band = tuple(float(q) for q in known.quantile(_BAND)) if split is not None and len(known) > 4 else None
            more = f" ({_MOST_LINES} of {len(ranked)} series)" if len(ranked) > _MOST_LINES else ""
            found.append(Panel(f"{name}{more}", lines, band))  # type: ignore[arg-type]
        return found


class Events(Table):
    """A row per event: time, kind, reason, object_kind, namespace, object_name, service, message."""

    def figure(self, marks: Marks | None = None) -> go.Figure:
        """Return what happened to whom when."""
        self._needs("time", "kind", "object_kind", "object_name", "service", "reason", "message")
        return _states(None, self.told(), marks)

    def told(self) -> pd.DataFrame:
        """Return time, object and text of each event."""
        frame = pd.DataFrame(self)
        parts = ["object_kind", "namespace", "object_name"]
        named = frame[parts].apply(lambda row: "/".join(p for p in row if isinstance(p, str) and p), axis=1)
        named = named.where(named != "", frame.service.fillna(frame.kind)) if len(frame) else frame.kind
        text = frame.reason.fillna(frame.kind) + ": " + frame.message.fillna("")
        return pd.DataFrame({"time": frame.time, "object": named, "text": text})


class Changes(Table):
    """A row per change of a Kubernetes object: time, object, verb, by, services, differences."""

    def figure(self, marks: Marks | None = None) -> go.Figure:
        """Return what was changed when."""
        self._needs("time", "object", "verb", "differences")
        text = self.verb + ": " + self.differences
        return _states(None, pd.DataFrame({"time": self.time, "object": self.object, "text": text}), marks)


class States(Table):
    """A row per Kubernetes object and stretch of one state: object, state, start, end, is_bad."""

    def figure(self, events: Events | None = None, marks: Marks | None = None) -> go.Figure:
        """Return the states as bars, with the events on them."""
        self._needs("object", "state", "start", "end", "is_bad")
        return _states(pd.DataFrame(self), None if events is None else events.told(), marks)


def _told_apart(columns: list[tuple[Any, ...]]) -> list[str]:
    """Return what tells the series of one metric apart; of one alone, all that is known."""
    words = [" ".join(str(part) for part in column[1:] if isinstance(part, str)).split() for column in columns]
    # A pod's name begins with its service's.
    words = [[word for word in told if not any(other.startswith(f"{word}-") for other in told)] for told in words]
    common = set.intersection(*map(set, words)) if len(words) > 1 else set()
    return [" ".join(word for word in told if word not in common) or " ".join(told) for told in words]


def _states(states: pd.DataFrame | None, events: pd.DataFrame | None = None, marks: Marks | None = None) -> go.Figure:
    from .figures import state_timeline

    empty: dict[str, Any] = {name: pd.to_datetime([], utc=True) for name in ("start", "end")}
    none = pd.DataFrame({"object": [], "state": [], **empty, "is_bad": np.array([], bool)})
    nothing = pd.DataFrame({"time": pd.to_datetime([], utc=True), "object": [], "text": []})
    lines = {label: moment_ns(moment) for label, moment in (marks or {}).items()}
    return state_timeline(none if states is None else states, nothing if events is None else events, lines)


def _moved(frame: pd.DataFrame, split: pd.Timestamp | None) -> pd.Series:
    """Return how far each column's mean moved at ``split``, or how much it varies without one, by its own scale."""
    if split is None:
        centre = frame.mean().abs()
        return (frame.std() / centre.where(centre > 0)).fillna(0.0)
    before, since = frame[frame.index < split], frame[frame.index >= split]
    # A scale of zero gets a floor of 1 % of the centre.
    scale = np.maximum(before.std().fillna(0.0), 0.01 * before.mean().abs())
    return ((since.mean() - before.mean()).abs() / scale.where(scale > 0)).fillna(0.0)
