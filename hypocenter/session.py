"""A store opened for people: services, graphs and rankings that show themselves in a notebook."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from .errors import CaseError, NotApplicable, SourceError
from .tracer.window import Window, epoch_to_ns, parse_time

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

    from .analysis.case import Case
    from .analysis.ranker import Ranker
    from .analysis.ranking import Ranking
    from .graph.dependency_graph import DependencyGraph
    from .graph.diff import GraphDiff
    from .graph.kubernetes_start import PodStart
    from .tracer.store import Store

# "-30m", RFC 3339, seconds since the epoch (or ms, us, ns, told by magnitude), datetime or pandas Timestamp.
Moment: TypeAlias = "str | int | float | datetime"
_NAME_CHARACTERS = 200
Period: TypeAlias = "Window | Moment | tuple[Moment, Moment]"


def open(path: Path | str) -> Session:
    """Return a session on the store at ``path``; SourceError says how to make one when there is none."""
    from .tracer.store import Store

    return Session(Store(path))


def ingest(paths: Path | str | Iterable[Path | str], store: Path | str) -> Session:
    """Read files and folders into the store at ``store``, made when it is absent, and return a session on it.

    What is in the store already adds nothing. SourceError names the files that could not be read; the rest is stored.
    """
    from .tracer.ingest import ingest as ingest_files
    from .tracer.store import Store

    listed = [paths] if isinstance(paths, (str, Path)) else list(paths)
    opened = Store(store, create=True)
    broken = [file.error or file.path for file in ingest_files(listed, opened).files if file.outcome == "failed"]
    if broken:
        more = f" (and {len(broken) - 3} more)" if len(broken) > 3 else ""
        raise SourceError(f"not read: {'; '.join(broken[:3])}{more}; what could be read is in {opened.path}")
    return Session(opened)


class Session:
    """Questions to one store; a relative time (``"-30m"``) counts from now."""

    def __init__(self, store: Store) -> None:
        self.store = store

    @property
    def window(self) -> Window | None:
        """The time from the first to the last row of any signal; None while the store is empty."""
        return self.store.bounds()

    def services(self) -> pd.DataFrame:
        """Return a row per service, in order of name: spans, first_span, last_span (UTC) and metric series."""
        import pandas as pd

        spans = self.store.read("spans", columns=["service", "start_ns"])
        seen = spans.group_by("service").aggregate([("start_ns", "count"), ("start_ns", "min"), ("start_ns", "max")])
        series = self.store.read("series", columns=["series_id", "service"]).group_by("service")
        frame = pd.DataFrame(
            {
                "spans": _by_service(seen.to_pandas(), "start_ns_count"),
                "first_span": pd.to_datetime(_by_service(seen.to_pandas(), "start_ns_min"), utc=True),
                "last_span": pd.to_datetime(_by_service(seen.to_pandas(), "start_ns_max"), utc=True),
                "series": _by_service(series.aggregate([("service", "count")]).to_pandas(), "service_count"),
            }
        )
        return frame.fillna({"spans": 0, "series": 0}).astype({"spans": "int64", "series": "int64"}).sort_index()

    def graph(self, since: Period | None = None, until: Moment | None = None) -> DependencyGraph:
        """Return the dependency graph of a window, by default of all that the store holds.

        Raises
        ------
        SourceError
            The store holds no span in the window; the message names the window it does hold.
        """
        from .graph.dependency_graph import DependencyGraph

        window = self._window(since, until) or self._bounds()
        held = self.store.bounds("spans")
        if held is None or held.end_ns <= window.start_ns or window.end_ns <= held.start_ns:
            what = "no spans at all" if held is None else f"spans of {held}; say since and until within it"
            raise SourceError(f"{self.store.path}: no spans in {window}; the store holds {what}")
        return DependencyGraph.read(self.store, window)

    def diff(self, before: Period, after: Period) -> GraphDiff:
        """Return what changed in the dependency graph from one window to another: calls, rate, errors, durations."""
        return self.graph(before).diff(self.graph(after))

    def symptoms(self, since: Period | None = None, until: Moment | None = None) -> pd.DataFrame:
        """Return where and when it hurt in a window, by default in all: a row per stretch, in order of time."""
        from .questions import symptoms

        return symptoms(self.store, self._window(since, until) or self._bounds())

    def traces(
        self,
        since: Period | None = None,
        until: Moment | None = None,
        *,
        service: str | None = None,
        operation: str | None = None,
        error: bool | None = None,
        longer_than_s: float | None = None,
        limit: int = 100,
    ) -> pd.DataFrame:
        """Return the traces of a window that have such a span, the longest first; see `hypocenter.questions.traces`."""
        from .questions import traces

        window = self._window(since, until) or self._bounds()
        conditions = {"service": service, "operation": operation, "error": error, "longer_than_s": longer_than_s}
        return traces(self.store, window, limit=limit, **conditions)  # type: ignore[arg-type]

    def trace(self, trace_id: str) -> Trace:
        """Return the trace of this id, or the one that alone begins with it; it shows itself as a waterfall."""
        from .graph.one_trace import laid_out, read_trace

        return Trace(laid_out(read_trace(self.store, trace_id)))

    def metrics(
        self,
        names: str | Iterable[str] | None = None,
        since: Period | None = None,
        until: Moment | None = None,
        *,
        service: str | None = None,
    ) -> pd.DataFrame:
        """Return samples on a common clock, a column per series; see `hypocenter.questions.metrics`."""
        from .questions import metrics

        return metrics(self.store, self._window(since, until) or self._bounds(), names, service)

    def events(self, since: Period | None = None, until: Moment | None = None) -> pd.DataFrame:
        """Return what happened in a window, in order of time: Kubernetes events, rollouts, changes, alerts."""
        from .questions import events

        return events(self.store, self._window(since, until) or self._bounds())

    def changes(
        self,
        since: Period | None = None,
        until: Moment | None = None,
        *,
        at: Moment | None = None,
        symptom: str | None = None,
    ) -> pd.DataFrame:
        """Return what was changed in the cluster in a window, by default in all: a row per change of an object.

        With the onset ``at`` or the service that hurts the closest comes first; see `hypocenter.questions.changes`.
        """
        from .questions import changes

        window = self._window(since, until) or self._bounds()
        return changes(self.store, window, None if at is None else moment_ns(at), symptom)

    def pod_start(self, pod: str, namespace: str | None = None, at: Moment | None = None) -> PodStart:
        """Return how a pod started, stage by stage, and the one that it is stuck at with its component."""
        from .questions import pod_start

        return pod_start(self.store, pod, namespace, None if at is None else moment_ns(at))

    def rank(
        self,
        at: Moment | None = None,
        since: Period | None = None,
        until: Moment | None = None,
        baseline: Period | None = None,
        symptom: str | None = None,
        ranker: str = "hypocenter",
    ) -> RankedIncident:
        """Return where an incident most likely began.

        Parameters
        ----------
        at
            When it was noticed: an alert's time, which may be wrong by minutes. None: found from the telemetry.
        since, until
            The incident window, in place of the one around ``at``.
        baseline
            A quiet window to compare with, in place of the time before: a Window or (since, until).
        symptom
            The service where it hurts. None: found from the telemetry.
        ranker
            A method's name; see `hypocenter evaluate --help`.

        Raises
        ------
        CaseError
            The windows contradict each other, or the store holds nothing in them.
        ValueError
            A time that cannot be read, or an unknown ranker.
        """
        from .analysis.incident import case_of
        from .analysis.ranker import create

        method = create(ranker)
        case = case_of(
            self.store,
            at_ns=None if at is None else moment_ns(at),
            window=self._window(since, until),
            baseline=None if baseline is None else self._window(baseline, None),
            symptom=symptom,
        )
        return RankedIncident(_ranked(method, case), case)

    def report(
        self,
        path: Path | str,
        at: Moment | None = None,
        since: Period | None = None,
        until: Moment | None = None,
        baseline: Period | None = None,
        symptom: str | None = None,
        ranker: str = "hypocenter",
    ) -> Path:
        """Rank as `rank` does, write the page to ``path`` and return it."""
        return self.rank(at, since, until, baseline, symptom, ranker).report(path)

    def _window(self, since: Period | None, until: Moment | None) -> Window | None:
        """Return the window said, None when nothing was; what is left open is the store's own end."""
        if isinstance(since, Window):
            return since
        if isinstance(since, tuple):
            since, until = since
        if since is None and until is None:
            return None
        end_ns = None if until is None else moment_ns(until)
        start_ns = self._bounds().start_ns if since is None else moment_ns(since)
        if end_ns is None:
            # A window after all data stays one, so that the error can say where the data is.
            end_ns = max(self._bounds().end_ns, start_ns + 1)
        if start_ns >= end_ns:
            held = self._bounds()
            raise CaseError(f"since must lie before until; got since={since!r}, until={until!r}; data: {held}")
        return Window(start_ns, end_ns)

    def _bounds(self) -> Window:
        window = self.store.bounds()
        if window is None:
            raise SourceError(
                f"{self.store.path}: the store is empty; fill it with: hypocenter ingest PATH --store DIR"
            )
        return window

    def _rows(self) -> dict[str, int]:
        from .tracer.schema import SIGNALS

        return {signal: sum(s.rows for s in self.store.segments(signal)) for signal in SIGNALS}

    def __repr__(self) -> str:
        rows = ", ".join(f"{count:,} {signal}" for signal, count in self._rows().items() if count) or "empty"
        return f"<hypocenter store {self.store.path}: {rows}; {self.window or 'no time'}>"

    def _repr_html_(self) -> str:
        from html import escape

        return f"<p>{escape(repr(self).strip('<>'))}</p>{self.services().head(30).to_html(escape=True, border=0)}"


@dataclass(frozen=True)
class Trace:
    """One trace, a row per span in the order of a waterfall (`hypocenter.graph.one_trace.laid_out`)."""

    spans: pd.DataFrame

    def to_frame(self) -> pd.DataFrame:
        """Return the spans."""
        return self.spans.copy()

    def figure(self) -> go.Figure:
        """Return the waterfall."""
        from .analysis.plot import waterfall

        text = {
            name: self.spans[name].fillna("(no service.name)").str.slice(0, _NAME_CHARACTERS)
            for name in ("service", "operation")
        }
        # Rows have numbers for ids: two spans may share one.
        ids = {"span_id": self.spans["number"].astype(str), "parent_span_id": self.spans["parent"].astype(str)}
        return waterfall(self.spans.assign(**text, **ids))

    def __repr__(self) -> str:
        services = self.spans.service.nunique()
        return f"<trace {max(self.spans.trace_id, key=len)}: {len(self.spans):,} spans of {services} services>"

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> object:
        return self.figure()._repr_mimebundle_(include, exclude)


@dataclass(frozen=True)
class RankedIncident:
    """A ranking with the case it speaks of; it prints as the terminal's answer and shows as a card in a notebook."""

    ranking: Ranking
    case: Case

    @cached_property
    def graph(self) -> DependencyGraph | None:
        """The dependency graph of the incident's spans; None without spans."""
        from .graph.dependency_graph import DependencyGraph
        from .graph.rollup import STEP_NS, roll_up
        from .report.traffic import bounds

        window = bounds(self.case)
        if window is None or not self.case.telemetry.table("spans").num_rows:
            return None
        whole = Window(window[0] // STEP_NS * STEP_NS, -(-window[1] // STEP_NS) * STEP_NS)
        return DependencyGraph.of(roll_up(self.case.links), whole)

    def to_frame(self) -> pd.DataFrame:
        """Return a row per candidate by rank: entity, kind, service, probability, onset (UTC), score, path, texts."""
        import pandas as pd

        rows = [
            {
                "rank": rank,
                "entity": c.entity,
                "kind": c.kind,
                "service": c.service,
                "probability": c.probability,
                "onset": pd.to_datetime(c.onset_ns, unit="ns", utc=True) if c.onset_ns is not None else pd.NaT,
                "score": c.score,
                "path": " -> ".join(c.path),
                "speaks_for": "; ".join(e.text for e in c.evidence_for),
                "speaks_against": "; ".join(e.text for e in c.evidence_against),
            }
            for rank, c in enumerate(self.ranking.candidates, 1)
        ]
        columns = ["entity", "kind", "service", "probability", "onset", "score", "path", "speaks_for", "speaks_against"]
        return pd.DataFrame(rows, columns=["rank", *columns]).set_index("rank")

    def explain(self, candidate: str | int = 1) -> pd.DataFrame:
        """Return what speaks for and against a candidate (its place, entity or service): kind, nats, text, onset.

        CaseError names the candidates that there are.
        """
        import pandas as pd

        known = self.ranking.candidates
        place = candidate - 1 if isinstance(candidate, int) else None
        chosen = known[place : place + 1] if place is not None and place >= 0 else ()
        if isinstance(candidate, str):
            chosen = tuple(c for c in known if candidate in (c.entity, c.service))
        if not chosen:
            raise CaseError(f"no candidate {candidate!r}; there are {', '.join(c.entity for c in known[:10])}")
        evidence = [*chosen[0].evidence_for, *chosen[0].evidence_against]
        rows = [(e.kind, e.score, e.text, e.onset_ns) for e in evidence]
        frame = pd.DataFrame(rows, columns=["kind", "nats", "text", "onset"])
        return frame.assign(onset=pd.to_datetime(frame.onset.astype("Int64"), utc=True))

    def figure(self) -> go.Figure:
        """Return the evidence of the first candidates as bars."""
        from .analysis.plot import evidence_bars

        return evidence_bars(self.ranking.candidates)

    def map(self) -> go.Figure:
        """Return the service map with the origin and where it hurts; CaseError without spans."""
        return self._drawing("map")

    def timeline(self) -> go.Figure:
        """Return rate, errors, duration and the metrics that moved of the first candidate; CaseError without any."""
        return self._drawing("timeline-0")

    def traces(self) -> tuple[go.Figure, go.Figure]:
        """Return the waterfalls of a bad trace since the onset and a usual one before; CaseError without them."""
        return self._drawing("trace-bad"), self._drawing("trace-good")

    def report(self, path: Path | str) -> Path:
        """Write the self-contained page to ``path`` and return it."""
        from .report import write_report

        return write_report(self.ranking, self.case, self.graph, path)

    def _drawing(self, name: str) -> go.Figure:
        from .report.sections import build

        drawings = {d.name: d for d in build(self.ranking, self.case, self.graph).drawings}
        if name not in drawings:
            known = ", ".join(drawings) or "nothing"
            raise CaseError(f"the telemetry of this incident does not show the {name}; it shows: {known}")
        return drawings[name].figure

    def __repr__(self) -> str:
        from rich.console import Console

        from .report import to_text

        console = Console(width=100, color_system=None)
        with console.capture() as captured:
            console.print(to_text(self.ranking, self.case))
        return "\n".join(line.rstrip() for line in captured.get().splitlines())

    def _repr_html_(self) -> str:
        from .report import to_card

        return to_card(self.ranking, self.case)


def moment_ns(moment: Moment) -> int:
    """Return nanoseconds since the epoch; a datetime without a zone is UTC, a relative text counts from now.

    >>> moment_ns(1_700_000_000) == moment_ns("2023-11-14T22:13:20Z") == moment_ns(datetime(2023, 11, 14, 22, 13, 20))
    True
    """
    if isinstance(moment, str):
        return parse_time(moment)
    if isinstance(moment, datetime):
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        whole_ns = round(aware.replace(microsecond=0).timestamp()) * 10**9
        # A pandas Timestamp keeps the nanoseconds that a datetime has no place for.
        return whole_ns + aware.microsecond * 1000 + int(getattr(moment, "nanosecond", 0))
    return epoch_to_ns(str(moment))


def _ranked(method: Ranker, case: Case) -> Ranking:
    from .analysis.ranking import Ranking

    try:
        return method.rank(case)
    except NotApplicable as error:
        return Ranking(method.name, "not-applicable", error=str(error))


def _by_service(frame: pd.DataFrame, column: str) -> pd.Series:
    return frame.dropna(subset=["service"]).set_index("service")[column]
