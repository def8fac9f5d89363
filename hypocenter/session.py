"""A store opened for people: services, graphs and rankings that show themselves in a notebook."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import CaseError, NotApplicable, SourceError
from .moments import alerts_of, ended_ns, moment_ns
from .tracer.window import Window

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from .analysis.case import Case
    from .analysis.ranker import Ranker
    from .analysis.ranking import Ranking
    from .batch.sweep import Pass
    from .frames import Changes, Events, Metrics, Services, States, Symptoms, Traces
    from .graph.dependency_graph import DependencyGraph
    from .graph.diff import GraphDiff
    from .graph.kubernetes_start import PodStart
    from .incident import RankedIncident
    from .moments import Moment, Period
    from .rows import Rows
    from .sources import Server
    from .tracer.store import Store
    from .views import Flame, Latency, Trace


def open(
    path: Path | str | None = None,
    since: Moment = "-1h",
    until: Moment = "now",
    *,
    prometheus: Server | None = None,
    jaeger: Server | None = None,
    tempo: Server | None = None,
    zipkin: Server | None = None,
    alertmanager: Server | None = None,
) -> Session:
    """Return a session on a store, or on what live servers hold of a window.

    Parameters
    ----------
    path
        The store, a folder or ``s3://bucket/prefix``. With servers: the folder that keeps what they give; None: a
        temporary one that goes with the session.
    since, until
        The window that servers are asked for; a store is opened whole.
    prometheus, jaeger, tempo, zipkin, alertmanager
        An address, or a mapping with ``url``, credentials and what to ask (docs/howto/pull.md).

    Raises
    ------
    SourceError
        There is no store (it says how to make one), or a server cannot be reached or refuses.
    """
    from .sources import open_live
    from .tracer.store.remote import store_at

    servers = {
        "prometheus": prometheus,
        "jaeger": jaeger,
        "tempo": tempo,
        "zipkin": zipkin,
        "alertmanager": alertmanager,
    }
    named = {name: server for name, server in servers.items() if server is not None}
    if named:
        return open_live(since, until, store=path, **named)
    if path is None:
        raise SourceError("nothing to open; say the path of a store, or prometheus=, jaeger=, tempo= or zipkin=")
    return Session(store_at(path))


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


# Spans that a person waits for without a sample: some seconds.
_LINKED_AT_ONCE = 2_000_000


class Session:
    """Questions to one store; a relative time (``"-30m"``) counts from now.

    Examples
    --------
    The recorded incident that travels with the package:

    >>> import tempfile
    >>> from importlib.resources import files
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     session = ingest(str(files("hypocenter") / "demo_incident"), f"{folder}/store")
    ...     print(list(session.services().index[:3]))
    ...     print(session.spans(where="duration_ns > 1e8"))
    ...     print(session.traces(longer_than_s=0.1).duration_s.head(2).round(2).tolist())
    ...     incident = session.rank(at="2026-11-29T11:22:00Z")
    ...     print(incident.to_frame()[["entity", "kind"]].loc[1].tolist())
    ['account', 'advert', 'broker']
    <105 spans where (duration_ns > 1e8); all time>
    [0.38, 0.21]
    ['catalog 9.0.0', 'change']
    """

    def __init__(self, store: Store) -> None:
        self.store = store

    @property
    def window(self) -> Window | None:
        """The time from the first to the last row of any signal; None while the store is empty."""
        return self.store.bounds()

    def services(self) -> Services:
        """Return a row per service, in order of name: spans, first_span, last_span (UTC) and metric series."""
        from .frames import Services
        from .questions import services

        return Services(services(self.store))

    def spans(
        self,
        since: Period | None = None,
        until: Moment | None = None,
        *,
        where: str | None = None,
        service: str | None = None,
        operation: str | None = None,
        error: bool | None = None,
        longer_than_s: float | None = None,
    ) -> Rows:
        """Return the spans of a window that meet all conditions; they stay in the store until they are asked for.

        ``where`` is a condition in SQL over the columns of spans, such as ``"http_status >= 500"``
        (`hypocenter.rows.Rows`).
        """
        from .rows import Rows, condition

        asked = condition(where, service=service, operation=operation, error=error, longer_than_s=longer_than_s)
        return Rows(self.store, "spans", self._window(since, until), asked)

    def logs(
        self,
        since: Period | None = None,
        until: Moment | None = None,
        *,
        where: str | None = None,
        service: str | None = None,
    ) -> Rows:
        """Return the log records of a window that meet all conditions; they stay in the store as `spans` do."""
        from .rows import Rows, condition

        return Rows(self.store, "logs", self._window(since, until), condition(where, service=service))

    def graph(
        self, since: Period | None = None, until: Moment | None = None, *, sample: int | None = None
    ) -> DependencyGraph:
        """Return the dependency graph of a window, by default of all that the store holds.

        ``sample`` links one trace in so many, whole ones; adjusted counts and rates make up for the others, and the
        graph says so. None is 1 wherever that does not take long: hours that an earlier question or upkeep rolled up
        are read as they are, and of more than two million other spans about a million are linked.

        Raises
        ------
        SourceError
            The store holds no span in the window; the message names the window it does hold.
        """
        from .graph.dependency_graph import DependencyGraph

        store = self.store.snapshot()
        window = self._window(since, until) or self._bounds(store)
        held = store.bounds("spans")
        if held is None or held.end_ns <= window.start_ns or window.end_ns <= held.start_ns:
            what = "no spans at all" if held is None else f"spans of {held}; say since and until within it"
            raise SourceError(f"{self.store}: no spans in {window}; the store holds {what}")
        return DependencyGraph.read(_sampled(store, window, sample), window)

    def diff(self, before: Period, after: Period) -> GraphDiff:
        """Return what changed in the dependency graph from one window to another: calls, rate, errors, durations."""
        return self.graph(before, sample=1).diff(self.graph(after, sample=1))

    def symptoms(self, since: Period | None = None, until: Moment | None = None) -> Symptoms:
        """Return where and when it hurt in a window, by default in all: a row per stretch, in order of time."""
        from .frames import Symptoms
        from .questions import symptoms

        return Symptoms(symptoms(self.store, self._window(since, until) or self._bounds()))

    def traces(
        self,
        since: Period | None = None,
        until: Moment | None = None,
        *,
        where: str | None = None,
        service: str | None = None,
        operation: str | None = None,
        error: bool | None = None,
        longer_than_s: float | None = None,
        limit: int = 100,
    ) -> Traces:
        """Return the traces of a window that have a span of all conditions (as in `spans`), the longest first.

        See `hypocenter.questions.traces` for the columns.
        """
        from .frames import Traces
        from .questions import traces
        from .rows import condition

        window = self._window(since, until) or self._bounds()
        asked = condition(where, service=service, operation=operation, error=error, longer_than_s=longer_than_s)
        return Traces(traces(self.store, window, asked, limit))

    def trace(self, trace_id: str) -> Trace:
        """Return the trace of this id, or the one that alone begins with it; it shows itself as a waterfall."""
        from .graph.one_trace import laid_out, read_trace
        from .views import Trace

        return Trace(laid_out(read_trace(self.store, trace_id)))

    def flame(
        self,
        since: Period | None = None,
        until: Moment | None = None,
        *,
        service: str | None = None,
        operation: str | None = None,
        limit: int = 2_000,
    ) -> Flame:
        """Return the call trees of the longest traces of a window laid over each other: where their time goes.

        ``service`` and ``operation`` choose traces with such a span, ``limit`` how many; see
        `hypocenter.graph.flame.paths`.
        """
        from .questions import flame
        from .rows import condition
        from .views import Flame

        window = self._window(since, until) or self._bounds()
        return Flame(*flame(self.store, window, condition(service=service, operation=operation), limit))

    def latency(
        self,
        since: Period | None = None,
        until: Moment | None = None,
        *,
        service: str | None = None,
        operation: str | None = None,
    ) -> Latency:
        """Return how long spans took when, as a heatmap; ``.select(...)`` tells what the spans of a region share.

        SourceError when no span matches.
        """
        from .views import Latency

        found = self.spans(since, until, service=service, operation=operation)
        if found.head(1, ["start_ns"]).empty:
            who = service or "any service"
            raise SourceError(f"{self.store}: no span of {who} in this window; session.services() names all")
        return Latency(found)

    def metrics(
        self,
        names: str | Iterable[str] | None = None,
        since: Period | None = None,
        until: Moment | None = None,
        *,
        service: str | None = None,
    ) -> Metrics:
        """Return samples on a common clock, a column per series; see `hypocenter.questions.metrics`."""
        from .frames import Metrics
        from .questions import metrics

        return Metrics(metrics(self.store, self._window(since, until) or self._bounds(), names, service))

    def events(self, since: Period | None = None, until: Moment | None = None) -> Events:
        """Return what happened in a window, in order of time: Kubernetes events, rollouts, changes, alerts."""
        from .frames import Events
        from .questions import events

        return Events(events(self.store, self._window(since, until) or self._bounds()))

    def changes(
        self,
        since: Period | None = None,
        until: Moment | None = None,
        *,
        at: Moment | None = None,
        symptom: str | None = None,
    ) -> Changes:
        """Return what was changed in the cluster in a window, by default in all: a row per change of an object.

        With the onset ``at`` or the service that hurts the closest comes first; see `hypocenter.questions.changes`.
        """
        from .frames import Changes
        from .questions import changes

        window = self._window(since, until) or self._bounds()
        return Changes(changes(self.store, window, None if at is None else moment_ns(at), symptom))

    def states(self, since: Period | None = None, until: Moment | None = None) -> States:
        """Return the states of Kubernetes objects in a window, by default in all: ready, waiting, gone, by stretch."""
        from .frames import States
        from .graph.kubernetes import History
        from .graph.kubernetes_states import stretches

        return States(stretches(History.read(self.store, self._window(since, until) or self._bounds())))

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
            When it was noticed: an alert or its time, which may be wrong by minutes. None: found from the telemetry.
        since, until
            The incident window, in place of the one around ``at``.
        baseline
            A quiet window to compare with, in place of the time before: a Window or (since, until).
        symptom
            The service where it hurts. None: what the labels of an alert in ``at`` name, else found from the telemetry.
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
        from .incident import RankedIncident

        method = create(ranker)
        case = case_of(
            self.store,
            at_ns=None if at is None else moment_ns(at),
            window=self._window(since, until),
            baseline=None if baseline is None else self._window(baseline, None),
            symptom=symptom or self._alerted(at),
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
        links: Mapping[str, str] | None = None,
    ) -> Path:
        """Rank as `rank` does, write the page to ``path`` and return it; ``links`` as in `RankedIncident.report`."""
        return self.rank(at, since, until, baseline, symptom, ranker).report(path, links)

    def batch(
        self,
        out: Path | str,
        since: Period | None = None,
        until: Moment | None = None,
        ranker: str = "hypocenter",
        links: Mapping[str, str] | None = None,
        most_spans: int | None = None,
    ) -> Pass:
        """Rank every incident of a window, by default of all, as `hypocenter batch` does; tables and a page in ``out``.

        ``out`` is a folder or ``s3://bucket/prefix``; ``links`` are URL templates of the reports, as in
        `RankedIncident.report`; ``most_spans`` is about how many spans of an hour are linked, of a busier one a sample.

        Hours that are done are not done again. What comes back has ``incidents`` (a frame) and ``page``.
        """
        from .batch.sweep import run

        return run(self.store, out, self._window(since, until), ranker, links=links, most_spans=most_spans)

    def _window(self, since: Period | None, until: Moment | None) -> Window | None:
        """Return the window said, None when nothing was; what is left open is the store's own end."""
        if isinstance(since, Window):
            return since
        if isinstance(since, tuple):
            since, until = since
        if since is None and until is None:
            return None
        end_ns = ended_ns(since) if until is None else moment_ns(until)
        start_ns = self._bounds().start_ns if since is None else moment_ns(since)
        if end_ns is None:
            # A window after all data stays one, so that the error can say where the data is.
            end_ns = max(self._bounds().end_ns, start_ns + 1)
        if start_ns >= end_ns:
            held = self._bounds()
            raise CaseError(f"since must lie before until; got since={since!r}, until={until!r}; data: {held}")
        return Window(start_ns, end_ns)

    def _bounds(self, store: Store | None = None) -> Window:
        window = (store or self.store).bounds()
        if window is None:
            raise SourceError(f"{self.store}: the store is empty; fill it with: hypocenter ingest PATH --store DIR")
        return window

    def _alerted(self, at: Moment | None) -> str | None:
        """Return the service of this store that the labels of an alert name; None for what is no alert."""
        if not isinstance(at, Mapping):
            return None
        from .hook.mapping import Known, map_alert

        known = Known(frozenset(str(name) for name in self.services().index))
        return next((found for alert in alerts_of(at) if (found := map_alert(alert, known).service)), None)

    def _rows(self) -> dict[str, int]:
        from .tracer.schema import SIGNALS

        return {signal: sum(s.rows for s in self.store.segments(signal)) for signal in SIGNALS}

    def figure(self) -> go.Figure:
        """Return the service map of all that the store holds."""
        return self.graph().figure()

    def __repr__(self) -> str:
        rows = ", ".join(f"{count:,} {signal}" for signal, count in self._rows().items() if count) or "empty"
        return f"<hypocenter store {self.store}: {rows}; {self.window or 'no time'}>"

    def _repr_html_(self) -> str:
        from html import escape

        return f"<p>{escape(repr(self).strip('<>'))}</p>{self.services().head(30).to_html(escape=True, border=0)}"


def _ranked(method: Ranker, case: Case) -> Ranking:
    from .analysis.ranking import Ranking

    try:
        return method.rank(case)
    except NotApplicable as error:
        return Ranking(method.name, "not-applicable", error=str(error))


def _sampled(store: Store, window: Window, sample: int | None) -> Store:
    """Return a store, or a view of one trace in so many."""
    from .graph.cache import to_link

    if sample is None:
        waiting = to_link(store, window)
        # A power of two, so that one more segment does not make it another sample.
        sample = 1 if waiting <= _LINKED_AT_ONCE else 1 << (waiting // _LINKED_AT_ONCE).bit_length()
    if sample < 1:
        raise ValueError(f"expected one trace in 1 or more, got sample={sample}")
    # A store that was opened as a sample stays one.
    return store if sample <= store.sample else store.sampled(sample)
